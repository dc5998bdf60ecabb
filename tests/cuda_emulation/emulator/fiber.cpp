#include "fiber.h"

#include <cstdint>
#include <cstdlib>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__x86_64__)
// swapcontext() asks the kernel for the signal mask at each switch; this saves what the System V ABI lets a function
// keep: rbx, rbp, r12 to r15 and the stack pointer.
asm(R"(
.text
.p2align 4
.globl bertx_emulation_switch
.type bertx_emulation_switch, @function
bertx_emulation_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size bertx_emulation_switch, .-bertx_emulation_switch
)");
extern "C" void bertx_emulation_switch(void** save, void* load);
#endif

namespace cuda_emulation {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t kStackBytes = 256 << 10;
#else
constexpr std::size_t kStackBytes = 64 << 10;
#endif

Fiber* entering = nullptr;  // resumed for the first time

}  // namespace

Fiber::Fiber() : stack_(new std::byte[kStackBytes]) {}

void Fiber::prepare(void (*body)(void*), void* argument) {
  body_ = body;
  argument_ = argument;
  over_ = false;
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(stack_.get(), kStackBytes);
#endif
#if defined(__x86_64__)
  auto top = reinterpret_cast<std::uintptr_t>(stack_.get() + kStackBytes) & ~std::uintptr_t{15};
  // As after a call of enter(): the stack is 8 off a multiple of 16 at its first instruction.
  auto* words = reinterpret_cast<void**>(top) - 8;
  for (int i = 0; i < 6; ++i) words[i] = nullptr;
  words[6] = reinterpret_cast<void*>(&Fiber::enter);
  words[7] = nullptr;
  own_ = words;
#else
  getcontext(&own_);
  own_.uc_stack.ss_sp = stack_.get();
  own_.uc_stack.ss_size = kStackBytes;
  own_.uc_link = nullptr;
  makecontext(&own_, &Fiber::enter, 0);
#endif
}

void Fiber::enter() {
  Fiber* const self = entering;
  self->finish_switch(nullptr);
  self->body_(self->argument_);
  self->over_ = true;
  self->suspend();
  std::abort();  // a fiber that is over is not resumed
}

void Fiber::finish_switch([[maybe_unused]] void* fake_stack) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_stack, &caller_stack_, &caller_size_);
#endif
}

void Fiber::resume() {
  entering = this;
#if defined(__SANITIZE_ADDRESS__)
  void* fake_stack = nullptr;
  __sanitizer_start_switch_fiber(&fake_stack, stack_.get(), kStackBytes);
#endif
#if defined(__x86_64__)
  bertx_emulation_switch(&caller_, own_);
#else
  swapcontext(&caller_, &own_);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
}

void Fiber::suspend() {
#if defined(__SANITIZE_ADDRESS__)
  void* fake_stack = nullptr;
  __sanitizer_start_switch_fiber(over_ ? nullptr : &fake_stack, caller_stack_, caller_size_);
#endif
#if defined(__x86_64__)
  bertx_emulation_switch(&own_, caller_);
#else
  swapcontext(&own_, &caller_);
#endif
#if defined(__SANITIZE_ADDRESS__)
  finish_switch(fake_stack);
#endif
}

}  // namespace cuda_emulation
