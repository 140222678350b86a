// The scheduler: barriers, warp collectives, clusters. See machine.h for the rules.
#include <sanitizer/common_interface_defs.h>
#include <unistd.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>

#include "shared_memory.h"

namespace emulator {
namespace {

const char* text(State state) {
  switch (state) {
    case State::ready: return "is running";
    case State::at_warp: return "waits for its warp";
    case State::at_block: return "waits at a block barrier";
    case State::at_cluster: return "waits at a cluster barrier";
    case State::exited: return "has exited";
  }
  return "";
}

int source_lane(const WarpRequest& request, int lane) {
  const int segment = lane & ~(request.width - 1), end = segment + request.width;
  int source = lane;
  switch (request.kind) {
    case Collective::shuffle: return segment + (request.parameter & (request.width - 1));
    case Collective::shuffle_up: source = lane - request.parameter; return source < segment ? lane : source;
    case Collective::shuffle_down: source = lane + request.parameter; break;
    case Collective::shuffle_xor: source = lane ^ request.parameter; break;
    case Collective::barrier:
    case Collective::ballot: break;
  }
  return source >= end ? lane : source;
}

// Completes the collective `first` waits for if all lanes of its mask have come. True if it did.
bool resolve_warp(Thread& first) {
  const WarpRequest& request = first.request;
  Warp& warp = *first.warp;
  unsigned votes = 0;
  for (int lane = 0; lane < warp_size; ++lane) {
    if (!(request.mask >> lane & 1u)) continue;
    const Thread& other = *warp.lanes[lane];
    if (other.state == State::exited)
      report(&first, "warp collective at %s:%d: lane %d of the mask has exited", first.site.file, first.site.line,
             lane);
    if (other.state != State::at_warp) return false;
    if (other.request.kind != request.kind || other.request.mask != request.mask || !(other.site == first.site))
      report(&first, "divergent warp: waits at %s:%d, but lane %d at %s:%d", first.site.file, first.site.line, lane,
             other.site.file, other.site.line);
    votes |= unsigned(other.request.value != 0) << lane;
  }
  for (int lane = 0; lane < warp_size; ++lane) {
    if (!(request.mask >> lane & 1u)) continue;
    WarpRequest& own = warp.lanes[lane]->request;
    const int source = source_lane(own, lane);
    if (!(request.mask >> source & 1u))
      report(warp.lanes[lane], "shuffle at %s:%d reads lane %d, which is not in the mask", first.site.file,
             first.site.line, source);
    own.result = own.kind == Collective::ballot ? votes : warp.lanes[source]->request.value;
  }
  if (request.kind == Collective::barrier) ++warp.epoch;
  for (int lane = 0; lane < warp_size; ++lane)
    if (request.mask >> lane & 1u) warp.lanes[lane]->state = State::ready;
  return true;
}

template <typename Items, typename Visit>
void in_order(Items& items, Visit visit) {
  if (schedule == Schedule::forward) std::for_each(items.begin(), items.end(), visit);
  else std::for_each(items.rbegin(), items.rend(), visit);
}

// Runs a warp until no lane of it can go on.
bool run_warp(Warp& warp) {
  bool ran = false;
  for (bool again = true; again;) {
    again = false;
    in_order(warp.lanes, [&](Thread* thread) {
      if (thread->state != State::ready) return;
      resume(*thread);
      ran = true;
    });
    for (Thread* thread : warp.lanes) again |= thread->state == State::at_warp && resolve_warp(*thread);
  }
  return ran;
}

// Lets go the threads of a group that all wait at the same barrier; reports those that never can.
bool resolve_barrier(const std::vector<Thread*>& threads, State at) {
  const Thread* waiting = nullptr;
  for (const Thread* thread : threads)
    if (thread->state == at) waiting = thread;
  if (!waiting) return false;
  for (const Thread* thread : threads) {
    if (thread->state == at && thread->site == waiting->site) continue;
    if (thread->state == State::at_cluster) return false;  // it may be let go by another block; else: deadlock
    report(waiting, "divergent barrier: waits at %s:%d, but thread (%u,%u,%u) of block (%u,%u,%u) %s %s:%d",
           waiting->site.file, waiting->site.line, thread->index.x, thread->index.y, thread->index.z,
           thread->block->index.x, thread->block->index.y, thread->block->index.z, text(thread->state),
           thread->site.file, thread->site.line);
  }
  for (Thread* thread : threads) thread->state = State::ready;
  return true;
}

void run_cluster(Cluster& running) {
  std::vector<Thread*> all;
  for (auto& block : running.blocks) all.insert(all.end(), block->threads.begin(), block->threads.end());
  const bool one_block = running.blocks.size() == 1;
  for (;;) {
    bool progress = false, exited = true;
    in_order(running.blocks, [&](std::unique_ptr<Block>& block) {
      for (bool again = true; again; progress |= again) {
        again = false;
        in_order(block->warps, [&](Warp& warp) { again |= run_warp(warp); });
        if (!resolve_barrier(block->threads, State::at_block)) continue;
        ++block->epoch;
        for (Warp& warp : block->warps) ++warp.epoch;
        again = true;
      }
    });
    for (const Thread* thread : all) exited &= thread->state == State::exited;
    if (exited) return;
    if (progress) continue;
    for (const Thread* thread : all)
      if (thread->state == State::at_warp || (one_block && thread->state == State::at_block))
        report(thread, "deadlock: it %s at %s:%d for ever", text(thread->state), thread->site.file, thread->site.line);
    if (!resolve_barrier(all, State::at_cluster)) report(all[0], "deadlock: it %s", text(all[0]->state));
    ++running.epoch;
    for (auto& block : running.blocks) {
      ++block->epoch;
      for (Warp& warp : block->warps) ++warp.epoch;
    }
  }
}

// Fibers are made once and serve every block of every launch.
std::vector<std::unique_ptr<Thread>> fibers;

std::unique_ptr<Block> make_block(const LaunchShape& shape, dim3 index, unsigned rank) {
  auto block = std::make_unique<Block>();
  block->index = index;
  block->rank = rank;
  const unsigned count = shape.block.x * shape.block.y * shape.block.z;
  block->warps.resize(count / warp_size);
  for (unsigned i = 0; i < count; ++i) {
    const size_t fiber = size_t(rank) * count + i;
    if (fiber == fibers.size()) fibers.push_back(std::make_unique<Thread>());
    Thread* thread = fibers[fiber].get();
    thread->index = dim3(i % shape.block.x, i / shape.block.x % shape.block.y, i / shape.block.x / shape.block.y);
    thread->lane = int(i % warp_size);
    thread->block = block.get();
    thread->warp = &block->warps[i / warp_size];
    thread->state = State::ready;
    thread->site = {};
    thread->warp->lanes.push_back(thread);
    block->threads.push_back(thread);
  }
  return block;
}

void say_where() {  // after a sanitizer's own report
  if (!current) return;
  const dim3 block = current->block->index, thread = current->index;
  std::fprintf(stderr, "emulator: that was block (%u,%u,%u) thread (%u,%u,%u)\n", block.x, block.y, block.z, thread.x,
               thread.y, thread.z);
}

}  // namespace

bool Block::exited() const {
  return std::all_of(threads.begin(), threads.end(), [](const Thread* t) { return t->state == State::exited; });
}

void report(const Thread* who, const char* format, ...) {
  if (!who) who = current;
  std::fprintf(stderr, "emulator: block (%u,%u,%u) thread (%u,%u,%u): ", who->block->index.x, who->block->index.y,
               who->block->index.z, who->index.x, who->index.y, who->index.z);
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(stderr, format, arguments);
  va_end(arguments);
  std::fprintf(stderr, "\n");
  if (who == current) __sanitizer_print_stack_trace();
  std::fflush(nullptr);
  _exit(86);
}

const char* refused(const LaunchShape& shape, size_t argument_bytes) {
  const dim3 grid = shape.grid, block = shape.block;
  const uint64_t threads = uint64_t(block.x) * block.y * block.z;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || threads == 0) return "invalid configuration: nothing to launch";
  if (grid.x > 0x7fffffffu) return "invalid configuration: gridDim.x above 2^31 - 1";
  if (grid.y > 65535 || grid.z > 65535) return "invalid configuration: gridDim.y or gridDim.z above 65535";
  if (threads > 1024 || block.z > 64) return "invalid configuration: more than 1024 threads in a block";
  if (threads % warp_size) return "threads of a block are no whole number of warps (a rule of this house)";
  if (shape.cluster == 0 || shape.cluster > 8) return "invalid configuration: more than 8 blocks in a cluster";
  if (grid.x % shape.cluster) return "invalid configuration: gridDim.x is no multiple of the cluster";
  if (shape.shared_bytes > shared_limit) return "invalid argument: more than 227 KB of dynamic shared memory";
  if (argument_bytes > argument_limit) return "invalid argument: more than 4096 bytes of kernel arguments";
  return nullptr;
}

void run(const LaunchShape& shape, const std::function<void()>& body) {
  static const bool announced = (__sanitizer_set_death_callback(say_where), true);
  (void)announced;
  thread_body = &body;
  const uint64_t clusters = uint64_t(shape.grid.x / shape.cluster) * shape.grid.y * shape.grid.z;
  for (uint64_t i = 0; i < clusters; ++i) {
    const uint64_t first = (schedule == Schedule::forward ? i : clusters - 1 - i) * shape.cluster;
    Cluster running;
    running.shape = shape;
    cluster = &running;
    for (unsigned rank = 0; rank < shape.cluster; ++rank) {
      const uint64_t block = first + rank;
      running.blocks.push_back(make_block(shape, dim3(unsigned(block % shape.grid.x),
                                                      unsigned(block / shape.grid.x % shape.grid.y),
                                                      unsigned(block / shape.grid.x / shape.grid.y)), rank));
    }
    run_cluster(running);
    cluster = nullptr;
  }
}

void wait(State at, Site site) {
  current->state = at;
  current->site = site;
  suspend(*current);
}

uint64_t collective(const WarpRequest& request, Site site) {
  Thread& thread = *current;
  if (!(request.mask >> thread.lane & 1u))
    report(&thread, "warp collective at %s:%d: its own lane is not in mask %08x", site.file, site.line, request.mask);
  if (request.width < 1 || request.width > warp_size || (request.width & (request.width - 1)))
    report(&thread, "shuffle at %s:%d: width %d is no power of two up to 32", site.file, site.line, request.width);
  thread.request = request;
  wait(State::at_warp, site);
  return thread.request.result;
}

}  // namespace emulator
