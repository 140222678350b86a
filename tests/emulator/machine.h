// The machine under the emulator: threads as fibers, warps, blocks, clusters, and who waits for whom.
//
// One cluster of blocks (usually one block) runs at a time. The scheduler is greedy: it runs one lane to its next
// barrier or warp collective, then the next lane, stays with a warp as long as any lane of it can run, with a block as
// long as any warp of it can, and only then goes on to the next. Schedule::forward takes lanes, warps, blocks and clusters in ascending order,
// Schedule::reverse in descending order: code that needs a barrier which is not there sees stale values under one of
// the two. What a schedule could hide, shared memory tells by itself (shared_memory.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

namespace emulator {

enum class Schedule { forward, reverse };
inline Schedule schedule = Schedule::forward;

// What the device says of itself.
inline int capability = 90;
inline bool clusters_fit = true;

struct Site {  // a place in the source
  const char* file = "";
  int line = 0;
  bool operator==(const Site& other) const { return file == other.file && line == other.line; }
};

enum class State { ready, at_warp, at_block, at_cluster, exited };
enum class Collective { barrier, shuffle, shuffle_up, shuffle_down, shuffle_xor, ballot };

struct WarpRequest {  // what a lane brought to a warp collective, and what it takes away
  Collective kind;
  unsigned mask;
  int parameter, width;
  uint64_t value, result;
};

struct Block;
struct Warp;
class SharedArray;

struct Thread {
  Thread();
  ~Thread();
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;

  dim3 index;
  int lane = 0;
  Warp* warp = nullptr;
  Block* block = nullptr;
  State state = State::exited;
  Site site;
  WarpRequest request{};

  void* stack_pointer = nullptr;
  void* stack = nullptr;        // lowest usable byte; a guard page lies below
  void* fake_stack = nullptr;   // the address sanitizer's
};

struct Warp {
  std::vector<Thread*> lanes;
  unsigned epoch = 0;  // barriers passed, for the race check
};

struct Block {
  dim3 index;
  unsigned rank = 0;  // in its cluster
  std::vector<Warp> warps;
  std::vector<Thread*> threads;
  std::vector<std::unique_ptr<SharedArray>> shared;
  unsigned epoch = 0;
  bool exited() const;
};

struct LaunchShape {
  dim3 grid, block;
  unsigned cluster = 1;  // blocks along x
  size_t shared_bytes = 0;
};

struct Cluster {
  LaunchShape shape;
  std::vector<std::unique_ptr<Block>> blocks;
  unsigned epoch = 0;
};

inline Thread* current = nullptr;    // null while the scheduler itself runs
inline Cluster* cluster = nullptr;

constexpr int warp_size = 32;
constexpr size_t static_shared_limit = 48 << 10, shared_limit = 227 << 10, argument_limit = 4096;

// Ends the process with exit status 86 after one line that names block and thread (`who`; null: the current one).
[[noreturn]] void report(const Thread* who, const char* format, ...) __attribute__((format(printf, 2, 3)));

// Null, or what the CUDA runtime would refuse in this launch.
const char* refused(const LaunchShape&, size_t argument_bytes);

// Runs every block of the grid.
void run(const LaunchShape&, const std::function<void()>& body);

// Switches to a thread, and back to the scheduler. A fiber outlives the CUDA thread it plays: it runs one after
// another.
extern const std::function<void()>* thread_body;
void resume(Thread&);
void suspend(Thread&);

// Called by a thread: wait for the others. The collective returns request.result.
void wait(State at, Site);
uint64_t collective(const WarpRequest&, Site);

}  // namespace emulator
