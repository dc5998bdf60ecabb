// The memory of the emulated device. Guarded, the host may touch it only through the runtime, as on a real one: outside
// of device work its pages are closed, and who reads or writes there ends with a word about it.
#pragma once

#include <array>
#include <csignal>
#include <cstddef>
#include <map>

namespace cuda_emulation {

class Arena {
 public:
  Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// At a multiple of 256 bytes, every byte 0xFF: floats are NaN. Null where there is no room.
  void* allocate(std::size_t bytes);
  void release(void* memory);
  void guard(bool guarded);

  /// Device work while it lives: pages of a guarded arena open as they are touched, and close at its end. May be
  /// nested.
  class Open {
   public:
    explicit Open(Arena& arena);
    ~Open();
    Open(const Open&) = delete;
    Open& operator=(const Open&) = delete;

   private:
    Arena& arena_;
  };

 private:
  struct Range {
    std::size_t offset = 0, bytes = 0;
  };
  static constexpr std::size_t kChunk = 64 << 10, kMostRanges = 256;

  static void on_fault(int signal, siginfo_t* info, void* context);
  void protect(const Range& range, bool open) const;
  /// Opens what [offset, offset + bytes) touches until the end of the device work.
  void touch(std::size_t offset, std::size_t bytes);
  Range all() const { return {0, high_}; }

  std::byte* base_ = nullptr;
  std::map<std::size_t, std::size_t> free_, used_;  // bytes by offset
  std::size_t high_ = 0;                            // the end of what was ever given out, in whole chunks
  int open_ = 0;
  bool guarded_ = false;
  std::array<Range, kMostRanges> touched_;
  std::size_t touched_count_ = 0;
};

}  // namespace cuda_emulation
