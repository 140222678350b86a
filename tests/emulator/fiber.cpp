// Fibers: a stack and a saved stack pointer for each emulated thread. Every switch is announced to the address
// sanitizer.
#include <sanitizer/common_interface_defs.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "machine.h"

// void emulator_switch(void** save_here, void* load): keeps the registers a call must preserve on the stack left
// behind.
#if defined(__x86_64__)
asm(R"(
.text
.globl emulator_switch
emulator_switch:
  push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp
  ret
)");
constexpr int saved_words = 6, return_word = 6;
#elif defined(__aarch64__)
asm(R"(
.text
.globl emulator_switch
emulator_switch:
  sub sp, sp, #160
  stp x29, x30, [sp, #0];   stp x19, x20, [sp, #16];  stp x21, x22, [sp, #32];  stp x23, x24, [sp, #48]
  stp x25, x26, [sp, #64];  stp x27, x28, [sp, #80];  stp d8, d9, [sp, #96];    stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]; stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x29, x30, [sp, #0];   ldp x19, x20, [sp, #16];  ldp x21, x22, [sp, #32];  ldp x23, x24, [sp, #48]
  ldp x25, x26, [sp, #64];  ldp x27, x28, [sp, #80];  ldp d8, d9, [sp, #96];    ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]; ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
)");
constexpr int saved_words = 20, return_word = 1;
#else
#error "the emulator's fibers know x86-64 and aarch64"
#endif
extern "C" void emulator_switch(void** save_here, void* load);

namespace emulator {

const std::function<void()>* thread_body = nullptr;

namespace {

constexpr size_t stack_bytes = 256 << 10, guard_bytes = 64 << 10;  // a guard page whatever the page size

void* scheduler_stack_pointer = nullptr;
void* scheduler_fake_stack = nullptr;
const void* scheduler_stack = nullptr;
size_t scheduler_stack_bytes = 0;

// A fiber outlives the CUDA thread it plays: it runs one after another.
void fiber_main() {
  __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_stack_bytes);
  for (Thread& thread = *current;;) {
    (*thread_body)();
    thread.state = State::exited;
    suspend(thread);
  }
}

}  // namespace

void resume(Thread& thread) {
  current = &thread;
  __sanitizer_start_switch_fiber(&scheduler_fake_stack, thread.stack, stack_bytes);
  emulator_switch(&scheduler_stack_pointer, thread.stack_pointer);
  __sanitizer_finish_switch_fiber(scheduler_fake_stack, nullptr, nullptr);
  current = nullptr;
}

void suspend(Thread& thread) {
  __sanitizer_start_switch_fiber(&thread.fake_stack, scheduler_stack, scheduler_stack_bytes);
  emulator_switch(&thread.stack_pointer, scheduler_stack_pointer);
  __sanitizer_finish_switch_fiber(thread.fake_stack, nullptr, nullptr);
}

Thread::Thread() {
  char* memory = static_cast<char*>(mmap(nullptr, guard_bytes + stack_bytes, PROT_READ | PROT_WRITE,
                                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (memory == MAP_FAILED || mprotect(memory, guard_bytes, PROT_NONE) != 0) {
    std::perror("emulator: no stack for a fiber");
    std::abort();
  }
  stack = memory + guard_bytes;
  // The first switch "returns" into fiber_main, with the stack aligned as at a function's entry.
  void** top = reinterpret_cast<void**>(memory + guard_bytes + stack_bytes) - 4;
  void** saved = top - saved_words;
  std::fill(saved, top + 4, nullptr);
  saved[return_word] = reinterpret_cast<void*>(&fiber_main);
  stack_pointer = saved;
}

Thread::~Thread() { munmap(static_cast<char*>(stack) - guard_bytes, guard_bytes + stack_bytes); }

}  // namespace emulator
