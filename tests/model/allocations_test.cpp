// Inference takes its memory once: passes after the first of a size allocate nothing.
#include <atomic>
#include <cstdlib>
#include <new>

#include "tiny.h"

namespace {
std::atomic<bool> counting = false;
std::atomic<int> allocations = 0;
std::atomic<std::size_t> largest = 0;

[[maybe_unused]] void* taken(std::size_t bytes, std::size_t alignment) {
  if (counting.load(std::memory_order_relaxed)) {
    ++allocations;
    if (bytes > largest) largest = bytes;
  }
  bytes = (bytes + alignment - 1) / alignment * alignment;
  return std::aligned_alloc(alignment, bytes > 0 ? bytes : alignment);
}
}  // namespace

// All that the test's libraries allocate in C++ passes here. Sanitizers have operators of their own, which stay.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define BERTX_SKIP_WHERE_NOTHING_IS_COUNTED() GTEST_SKIP() << "a sanitizer's operator new is not replaced"
#else
#define BERTX_SKIP_WHERE_NOTHING_IS_COUNTED() static_cast<void>(0)
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  if (void* const memory = taken(bytes, alignof(std::max_align_t))) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(std::size_t bytes, std::align_val_t alignment) {
  if (void* const memory = taken(bytes, static_cast<std::size_t>(alignment))) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(std::size_t bytes, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return taken(bytes, static_cast<std::size_t>(alignment));
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
[[gnu::noinline]] void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return taken(bytes, alignof(std::max_align_t));
}
#endif

namespace bertx::test {
namespace {

struct Count {
  int allocations;
  std::size_t largest;
};

Count of_a_repeated_pass(const std::string& kind, DType products) {
  const auto backend = make_cpu_backend({products});
  Model model = make_model(*backend, tiny_config(tiny_heads()[0]), 1);
  if (kind != "dense") represent(*backend, model, kind, 2);
  model.prepare(*backend);
  const Batch batch = tiny_batch(model, 3);
  Arena arena(*backend);
  const auto pass = [&] {
    arena.reset();
    Exec exec{*backend, arena};
    model.forward(exec, batch);
  };
  for (int i = 0; i < 3; ++i) pass();
  allocations = 0;
  largest = 0;
  counting = true;
  pass();
  counting = false;
  return {allocations, largest};
}

TEST(Allocations, ARepeatedPassOfASparseModelMakesNone) {
  BERTX_SKIP_WHERE_NOTHING_IS_COUNTED();
  EXPECT_EQ(of_a_repeated_pass("csr", DType::f32).allocations, 0);
}

// oneDNN wants handles of its operands, a few dozen bytes each; no number lies in memory that is new.
TEST(Allocations, ARepeatedPassOfADenseModelMakesOnlyHandles) {
  BERTX_SKIP_WHERE_NOTHING_IS_COUNTED();
  for (const DType products : {DType::f32, DType::bf16}) {
    const Count count = of_a_repeated_pass("dense", products);
    EXPECT_LE(count.largest, 256u);
    EXPECT_LE(count.allocations, 200);
  }
}

TEST(Allocations, AreCounted) {
  BERTX_SKIP_WHERE_NOTHING_IS_COUNTED();
  counting = true;
  allocations = 0;
  ::operator delete(::operator new(8));
  counting = false;
  EXPECT_EQ(allocations, 1);
}

}  // namespace
}  // namespace bertx::test
