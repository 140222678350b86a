// What the operating system should know about an output before it is written.
#pragma once

#include <cstdint>

namespace stylegan_fast::cpu {

// Asks for huge pages below a large output. Freshly allocated memory costs a page fault for every page first written,
// and 4096 bytes at a time that takes several times as long as the arithmetic of any kernel here.
void expect_writes(void* output, int64_t bytes);

}  // namespace stylegan_fast::cpu
