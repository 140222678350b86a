// Running independent pieces of work on the thread pool that is already in the process.
#pragma once

#include <cstdint>

namespace stylegan_fast::cpu {

// Calls body(context, i) once for each i in [0, count), on at most `threads` threads; returns when all are done. Which
// thread takes which piece is not fixed, so a piece must not depend on it.
void parallel_for(int64_t count, int threads, void (*body)(void* context, int64_t i), void* context);

}  // namespace stylegan_fast::cpu
