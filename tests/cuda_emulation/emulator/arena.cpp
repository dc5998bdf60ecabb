#include "arena.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, bytes)
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes)
#endif

namespace cuda_emulation {
namespace {

constexpr std::size_t kReserved = std::size_t{16} << 30;  // of addresses; pages come with their use
constexpr std::size_t kAligned = 256;

std::uintptr_t arena_begin = 0, arena_end = 0;
struct sigaction before;

void on_fault(int signal, siginfo_t* info, void* context) {
  const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
  if (address >= arena_begin && address < arena_end) {
    constexpr char kWords[] = "The host touched memory of the emulated CUDA device outside of device work.\n";
    [[maybe_unused]] const auto written = write(STDERR_FILENO, kWords, sizeof(kWords) - 1);
    std::abort();
  }
  if ((before.sa_flags & SA_SIGINFO) != 0) return before.sa_sigaction(signal, info, context);
  sigaction(SIGSEGV, &before, nullptr);  // and fault again
}

std::size_t rounded_up(std::size_t bytes) { return (bytes + kAligned - 1) / kAligned * kAligned; }

}  // namespace

Arena::Arena() {
  void* const memory = mmap(nullptr, kReserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  base_ = static_cast<std::byte*>(memory);
  arena_begin = reinterpret_cast<std::uintptr_t>(memory);
  arena_end = arena_begin + kReserved;
  free_[0] = kReserved;
  struct sigaction action {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &action, &before);
}

void* Arena::allocate(std::size_t bytes) {
  const std::size_t taken = rounded_up(bytes) + kAligned;  // what lies behind belongs to nobody
  for (auto block = free_.begin(); block != free_.end(); ++block) {
    const auto [offset, size] = *block;
    if (size < taken) continue;
    free_.erase(block);
    if (size > taken) free_[offset + taken] = size - taken;
    used_[offset] = taken;
    if (offset + taken > high_) {
      high_ = offset + taken;
      if (open_ > 0 || !guarded_) protect(true);
    }
    const Open open(*this);
    ASAN_UNPOISON_MEMORY_REGION(base_ + offset, bytes);
    ASAN_POISON_MEMORY_REGION(base_ + offset + bytes, taken - bytes);
    std::memset(base_ + offset, 0xFF, bytes);
    return base_ + offset;
  }
  return nullptr;
}

void Arena::release(void* memory) {
  const auto block = used_.find(static_cast<std::size_t>(static_cast<std::byte*>(memory) - base_));
  auto [offset, size] = *block;
  used_.erase(block);
  ASAN_POISON_MEMORY_REGION(base_ + offset, size);
  const auto next = free_.lower_bound(offset);
  if (next != free_.end() && next->first == offset + size) {
    size += next->second;
    free_.erase(next);
  }
  auto previous = free_.lower_bound(offset);
  if (previous != free_.begin() && (--previous)->first + previous->second == offset) {
    previous->second += size;
  } else {
    free_[offset] = size;
  }
}

void Arena::protect(bool open) const {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  if (high_ == 0) return;
  if (mprotect(base_, (high_ + page - 1) / page * page, open ? PROT_READ | PROT_WRITE : PROT_NONE) != 0) {
    throw std::bad_alloc();
  }
}

void Arena::guard(bool guarded) {
  guarded_ = guarded;
  protect(!guarded);
}

Arena::Open::Open(Arena& arena) : arena_(arena) {
  if (arena_.open_++ == 0 && arena_.guarded_) arena_.protect(true);
}
Arena::Open::~Open() {
  if (--arena_.open_ == 0 && arena_.guarded_) arena_.protect(false);
}

}  // namespace cuda_emulation
