#include "arena.h"

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

Arena* guarded_arena = nullptr;  // for the signal handler
struct sigaction before;

std::size_t rounded_up(std::size_t bytes, std::size_t unit) { return (bytes + unit - 1) / unit * unit; }

}  // namespace

Arena::Arena() {
  void* const memory = mmap(nullptr, kReserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  base_ = static_cast<std::byte*>(memory);
  guarded_arena = this;
  free_[0] = kReserved;
  struct sigaction action {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &action, &before);
}

void* Arena::allocate(std::size_t bytes) {
  const std::size_t taken = rounded_up(bytes, kAligned) + kAligned;  // what lies behind belongs to nobody
  for (auto block = free_.begin(); block != free_.end(); ++block) {
    const auto [offset, size] = *block;
    if (size < taken) continue;
    free_.erase(block);
    if (size > taken) free_[offset + taken] = size - taken;
    used_[offset] = taken;
    if (offset + taken > high_) {
      const Range fresh{high_, rounded_up(offset + taken, kChunk) - high_};
      high_ += fresh.bytes;
      if (!guarded_) protect(fresh, true);
    }
    const Open open(*this);
    if (guarded_) touch(offset, bytes);
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

void Arena::on_fault(int signal, siginfo_t* info, void* context) {
  Arena& arena = *guarded_arena;
  const auto offset = static_cast<std::size_t>(static_cast<std::byte*>(info->si_addr) - arena.base_);
  if (offset < arena.high_ && arena.open_ > 0) return arena.touch(offset, 1);
  if (offset < kReserved) {
    constexpr char kWords[] = "The host touched memory of the emulated CUDA device outside of device work.\n";
    [[maybe_unused]] const auto written = write(STDERR_FILENO, kWords, sizeof(kWords) - 1);
    std::abort();
  }
  if ((before.sa_flags & SA_SIGINFO) != 0) return before.sa_sigaction(signal, info, context);
  sigaction(SIGSEGV, &before, nullptr);  // and fault again
}

void Arena::protect(const Range& range, bool open) const {
  if (range.bytes == 0) return;
  if (mprotect(base_ + range.offset, range.bytes, open ? PROT_READ | PROT_WRITE : PROT_NONE) != 0) std::abort();
}

void Arena::touch(std::size_t offset, std::size_t bytes) {
  if (touched_count_ == kMostRanges) {  // too many to count
    touched_count_ = 0;
    touched_[touched_count_++] = all();
  } else {
    const std::size_t first = offset / kChunk * kChunk;
    touched_[touched_count_++] = {first, rounded_up(offset + bytes, kChunk) - first};
  }
  protect(touched_[touched_count_ - 1], true);
}

void Arena::guard(bool guarded) {
  guarded_ = guarded;
  protect(all(), !guarded);
}

Arena::Open::Open(Arena& arena) : arena_(arena) { ++arena_.open_; }
Arena::Open::~Open() {
  if (--arena_.open_ > 0 || !arena_.guarded_) return;
  for (std::size_t i = 0; i < arena_.touched_count_; ++i) arena_.protect(arena_.touched_[i], false);
  arena_.touched_count_ = 0;
}

}  // namespace cuda_emulation
