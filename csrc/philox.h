// The constants of Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3").
#pragma once

#include <cstdint>

namespace stylegan_fast {

constexpr int philox_rounds = 10;
constexpr uint32_t philox_multiplier0 = 0xd2511f53, philox_multiplier1 = 0xcd9e8d57;
// What the two words of the key grow by every round.
constexpr uint32_t philox_weyl0 = 0x9e3779b9, philox_weyl1 = 0xbb67ae85;

}  // namespace stylegan_fast
