// The memory of the emulated device. Guarded, the host may touch it only through the runtime, as on a real one: outside
// of device work its pages are closed, and who reads or writes there ends with a word about it.
#pragma once

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

  /// Opens the pages of a guarded arena while it lives; may be nested.
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
  void protect(bool open) const;

  std::byte* base_ = nullptr;
  std::map<std::size_t, std::size_t> free_, used_;  // bytes by offset
  std::size_t high_ = 0;                            // the end of what was ever given out
  int open_ = 0;
  bool guarded_ = false;
};

}  // namespace cuda_emulation
