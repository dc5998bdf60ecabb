// A stack of its own to run a function on, left and entered again at will: a thread of a block.
#pragma once

#include <cstddef>
#include <memory>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace cuda_emulation {

/// Not thread-safe: all fibers are resumed from one host thread at a time. A body must not let exceptions out.
class Fiber {
 public:
  Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// The next resume() begins body(argument); what ran on this stack before is forgotten, not unwound.
  void prepare(void (*body)(void*), void* argument);
  /// Runs until the body calls suspend() or returns.
  void resume();
  /// From within the body: back to resume()'s caller.
  void suspend();

 private:
  [[noreturn]] static void enter();
  void finish_switch(void* fake_stack);

  std::unique_ptr<std::byte[]> stack_;
  void (*body_)(void*) = nullptr;
  void* argument_ = nullptr;
  bool over_ = false;
#if defined(__x86_64__)
  void* own_ = nullptr;  // stack pointers of who waits
  void* caller_ = nullptr;
#else
  ucontext_t own_{}, caller_{};
#endif
  const void* caller_stack_ = nullptr;  // what the address sanitizer wants to know
  std::size_t caller_size_ = 0;
};

}  // namespace cuda_emulation
