// Small kernels with one fault each, to prove that the emulator reports it: planted_faults NAME forward|reverse. Every
// fault has a twin without it, NAME_right, which must run to the end.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

#include "cuda/reduce.cuh"

using namespace stylegan_fast;
using namespace stylegan_fast::cuda;

namespace {

constexpr int threads = 64;

struct Buffers {
  float* in;   // threads values
  float* out;  // threads values
};

// Reads the neighbour's value: across lanes of a warp where `reach` is 1, across warps where it is 32.
template <bool barrier, int reach>
void shared_exchange(Buffers b) {
  SHARED(float, slots, threads);
  slots[threadIdx.x] = b.in[threadIdx.x];
  if (barrier && reach == 1) __syncwarp();
  if (barrier && reach > 1) __syncthreads();
  b.out[threadIdx.x] = slots[threadIdx.x ^ reach];
}

// Uses the same array twice: the second round may not begin before everybody has read the first.
template <bool barrier>
void shared_reuse(Buffers b) {
  SHARED(float, slots, threads);
  float sum = 0;
  for (int round = 0; round < 2; ++round) {
    slots[threadIdx.x] = b.in[threadIdx.x] + float(round);
    __syncthreads();
    sum += slots[threadIdx.x ^ 32];
    if (barrier) __syncthreads();
  }
  b.out[threadIdx.x] = sum;
}

template <bool initialised>
void shared_read(Buffers b) {
  SHARED(float, slots, threads);
  if (initialised || threadIdx.x != 5) slots[threadIdx.x] = b.in[threadIdx.x];
  b.out[threadIdx.x] = slots[threadIdx.x];
}

template <int size>
void shared_index(Buffers b) {
  SHARED(float, slots, size);
  slots[threadIdx.x] = b.in[threadIdx.x];
  b.out[threadIdx.x] = slots[threadIdx.x];
}

// Warp 1 does not come to the barrier.
template <bool all>
void barrier_with_exit(Buffers b) {
  if (!all && threadIdx.x >= 32) return;
  __syncthreads();
  b.out[threadIdx.x] = b.in[threadIdx.x];
}

// Two barriers, half of the block at each.
template <bool together>
void barrier_in_branch(Buffers b) {
  if (together || threadIdx.x < 32) {
    b.out[threadIdx.x] = b.in[threadIdx.x];
    __syncthreads();
  } else {
    b.out[threadIdx.x] = 2 * b.in[threadIdx.x];
    __syncthreads();
  }
}

// Lanes of one warp wait for each other at two different places.
template <bool together>
void warp_in_branch(Buffers b) {
  float v = b.in[threadIdx.x];
  if (together || threadIdx.x % 2) v = __shfl_xor_sync(full_warp, v, 2);
  else v = __shfl_xor_sync(full_warp, v, 4);
  b.out[threadIdx.x] = v;
}

template <bool all>
void warp_with_exit(Buffers b) {
  if (!all && threadIdx.x % 32 == 31) return;
  b.out[threadIdx.x] = __shfl_down_sync(full_warp, b.in[threadIdx.x], 1);
}

template <int width>
void shuffle_width(Buffers b) {
  b.out[threadIdx.x] = __shfl_xor_sync(full_warp, b.in[threadIdx.x], 1, width);
}

template <unsigned mask>
void shuffle_mask(Buffers b) {
  if (threadIdx.x % 32 < 16) b.out[threadIdx.x] = __shfl_xor_sync(mask, b.in[threadIdx.x], 1);
  else b.out[threadIdx.x] = __shfl_xor_sync(~mask, b.in[threadIdx.x], 1);
}

// The first warp waits for its block, the second for a lane that waits for its block.
template <bool right>
void wait_for_each_other(Buffers b) {
  if (!right && threadIdx.x % 2) __syncthreads();
  else b.out[threadIdx.x] = __shfl_xor_sync(full_warp, b.in[threadIdx.x], 2);
}

template <int past>
void global_write(Buffers b) {
  b.out[threadIdx.x + past] = b.in[threadIdx.x];
}

template <int misplaced>
void vector_alignment(Buffers b) {
  float v[4];
  if (threadIdx.x >= 8) return;
  load(b.in + 4 * threadIdx.x + misplaced, 4, true, v);
  b.out[threadIdx.x] = v[0];
}

// Each block of a cluster reads the other's array.
template <bool before, bool after>
void cluster_exchange(Buffers b) {
  SHARED(float, slots, threads);
  slots[threadIdx.x] = b.in[threadIdx.x];
  if (before) cluster_barrier();
  else __syncthreads();
  b.out[threadIdx.x] = of_block(slots, 1 - cluster_rank())[threadIdx.x];
  if (after) cluster_barrier();
}

// Two arrays side by side in dynamic memory of `bytes`, the second from byte `second`.
template <int second>
void dynamic_arrays(Buffers b) {
  DYNAMIC_SHARED(float, first_half, 0, threads);
  DYNAMIC_SHARED(double, second_half, second, threads);
  first_half[threadIdx.x] = b.in[threadIdx.x];
  second_half[threadIdx.x] = b.in[threadIdx.x];
  b.out[threadIdx.x] = float(first_half[threadIdx.x] + second_half[threadIdx.x]);
}

void static_array_of_100_kb(Buffers b) {
  SHARED(float, slots, 25 << 10);
  slots[threadIdx.x] = b.in[threadIdx.x];
}

void votes(Buffers b) {
  const unsigned even = __ballot_sync(full_warp, threadIdx.x % 2 == 0);
  b.out[threadIdx.x] = float((even == 0x55555555u) + __any_sync(full_warp, threadIdx.x % 32 == 7) +
                             __all_sync(full_warp, threadIdx.x < 1000));
}

struct Fault {
  void (*kernel)(Buffers);
  LaunchShape shape{dim3(1), threads};
};

constexpr LaunchShape pair{dim3(2), threads, 0, 2};
constexpr LaunchShape dynamic{dim3(1), threads, threads * 12};

const std::map<std::string, Fault> faults = {
    {"deleted_block_barrier", {shared_exchange<false, 32>}},
    {"deleted_block_barrier_right", {shared_exchange<true, 32>}},
    {"deleted_warp_barrier", {shared_exchange<false, 1>}},
    {"deleted_warp_barrier_right", {shared_exchange<true, 1>}},
    {"deleted_barrier_before_reuse", {shared_reuse<false>}},
    {"deleted_barrier_before_reuse_right", {shared_reuse<true>}},
    {"uninitialised_read", {shared_read<false>}},
    {"uninitialised_read_right", {shared_read<true>}},
    {"shared_index_beyond", {shared_index<threads - 1>}},
    {"shared_index_beyond_right", {shared_index<threads>}},
    {"barrier_with_exit", {barrier_with_exit<false>}},
    {"barrier_with_exit_right", {barrier_with_exit<true>}},
    {"barrier_in_branch", {barrier_in_branch<false>}},
    {"barrier_in_branch_right", {barrier_in_branch<true>}},
    {"warp_in_branch", {warp_in_branch<false>}},
    {"warp_in_branch_right", {warp_in_branch<true>}},
    {"warp_with_exit", {warp_with_exit<false>}},
    {"warp_with_exit_right", {warp_with_exit<true>}},
    {"shuffle_width", {shuffle_width<12>}},
    {"shuffle_width_right", {shuffle_width<16>}},
    {"shuffle_mask", {shuffle_mask<0x0000fff0u>}},
    {"shuffle_mask_right", {shuffle_mask<0x0000ffffu>}},
    {"wait_for_each_other", {wait_for_each_other<false>}},
    {"wait_for_each_other_right", {wait_for_each_other<true>}},
    {"global_write_beyond", {global_write<1>}},
    {"global_write_beyond_right", {global_write<0>}},
    {"vector_alignment", {vector_alignment<1>}},
    {"vector_alignment_right", {vector_alignment<0>}},
    {"cluster_deleted_barrier", {cluster_exchange<false, true>, pair}},
    {"cluster_exit_too_early", {cluster_exchange<true, false>, pair}},
    {"cluster_right", {cluster_exchange<true, true>, pair}},
    {"dynamic_overlap", {dynamic_arrays<threads * 2>, dynamic}},
    {"dynamic_too_small", {dynamic_arrays<threads * 8>, dynamic}},
    {"dynamic_misaligned", {dynamic_arrays<threads * 4 + 4>, {dim3(1), threads, threads * 12 + 4}}},
    {"dynamic_right", {dynamic_arrays<threads * 4>, dynamic}},
    {"static_too_large", {static_array_of_100_kb}},
    {"votes_right", {votes}},
    {"launch_2048_threads", {global_write<0>, {dim3(1), 2048}}},
    {"launch_48_threads", {global_write<0>, {dim3(1), 48}}},
    {"launch_grid_y", {global_write<0>, {dim3(1, 65536), threads}}},
    {"launch_nothing", {global_write<0>, {dim3(0), threads}}},
    {"launch_cluster_of_3_in_4", {global_write<0>, {dim3(4), threads, 0, 3}}},
    {"launch_256_kb", {global_write<0>, {dim3(1), threads, 256 << 10}}},
};

}  // namespace

int main(int count, char** words) {
  const auto found = faults.find(count == 3 ? words[1] : "");
  if (found == faults.end()) {
    for (const auto& fault : faults) std::printf("%s\n", fault.first.c_str());
    return 2;
  }
  emulator::schedule = std::strcmp(words[2], "reverse") ? emulator::Schedule::forward : emulator::Schedule::reverse;
  Buffers buffers{static_cast<float*>(std::malloc(threads * sizeof(float))),
                  static_cast<float*>(std::malloc(threads * sizeof(float)))};
  for (int i = 0; i < threads; ++i) buffers.in[i] = float(i), buffers.out[i] = -1;
  const Status status = launch(found->first.c_str(), found->second.kernel, found->second.shape, nullptr, buffers);
  if (status != Status::ok) {
    std::fprintf(stderr, "%s\n", last_error());
    return 3;
  }
  for (int i = 0; i < threads; ++i) std::printf("%g\n", double(buffers.out[i]));
  return 0;
}
