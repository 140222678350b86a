// The OpenMP pool of the host program is used through its entry point GOMP_parallel, found at run time in the library
// that the host program itself computes with. Linking -fopenmp would bring a second pool into the process wherever the
// host ships a libgomp of its own under another name, as PyTorch's CUDA wheels do; and would need one in the system
// where there is none. libgomp, libomp and libiomp5 on Linux all have this entry point.
#include "parallel.h"

#include <atomic>

#include "../api.h"

#if defined(__unix__) || defined(__APPLE__)
#include <dlfcn.h>
#endif

namespace stylegan_fast::cpu {

namespace {

using GompParallel = void (*)(void (*body)(void*), void* context, unsigned threads, unsigned flags);
std::atomic<GompParallel> gomp_parallel{nullptr};

struct Work {
  void (*body)(void* context, int64_t i);
  void* context;
  int64_t count;
  std::atomic<int64_t> next{0};
};

void take_pieces(void* pointer) {
  auto& work = *static_cast<Work*>(pointer);
  for (int64_t i; (i = work.next.fetch_add(1, std::memory_order_relaxed)) < work.count;) work.body(work.context, i);
}

}  // namespace

bool use_pool_of(const char* library) {
#if defined(RTLD_NOLOAD)
  void* handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
  void* entry = handle ? dlsym(handle, "GOMP_parallel") : nullptr;
  if (handle) dlclose(handle);
  if (entry) gomp_parallel.store(reinterpret_cast<GompParallel>(entry));
  return entry != nullptr;
#else
  (void)library;
  return false;
#endif
}

void parallel_for(int64_t count, int threads, void (*body)(void*, int64_t), void* context) {
  GompParallel pool = gomp_parallel.load();
  if (threads > count) threads = static_cast<int>(count);
  if (threads < 2 || !pool) {
    for (int64_t i = 0; i < count; ++i) body(context, i);
    return;
  }
  Work work{body, context, count};
  pool(take_pieces, &work, static_cast<unsigned>(threads), 0);
}

}  // namespace stylegan_fast::cpu
