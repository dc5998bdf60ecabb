// The asynchronous copies (cp.async) and products (wgmma) of one thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

namespace cuda_emulation {

struct AsyncCopy {
  void* to;
  const void* from;
  int bytes, taken;

  void run() const {
    std::memcpy(to, from, static_cast<std::size_t>(taken));
    std::memset(static_cast<char*>(to) + taken, 0, static_cast<std::size_t>(bytes - taken));
  }
};

/// A copy may happen at any time until it is waited for: here at once, or not before, so that both a missing wait and a
/// buffer that is still in use are seen.
class AsyncCopies {
 public:
  void clear() {
    late_.clear();
    groups_.clear();
    uncommitted_ = 0;
  }
  void begin(const AsyncCopy& copy, bool at_once) {
    if (at_once) return copy.run();
    late_.push_back(copy);
    ++uncommitted_;
  }
  void commit() { groups_.push_back(std::exchange(uncommitted_, std::size_t{0})); }
  /// Completes all groups but the `left` last ones.
  void wait(std::size_t left) {
    while (groups_.size() > left) {
      complete(groups_.front());
      groups_.erase(groups_.begin());
    }
  }
  void complete_all() { complete(late_.size()); }

 private:
  void complete(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) late_[i].run();
    late_.erase(late_.begin(), late_.begin() + static_cast<std::ptrdiff_t>(count));
  }

  std::vector<AsyncCopy> late_;      // not yet done, in order
  std::vector<std::size_t> groups_;  // how many of them belong to each committed group
  std::size_t uncommitted_ = 0;
};

/// The same of any work, in groups.
class LateWork {
 public:
  void begin(std::function<void()> work, bool at_once) {
    // What was put off comes first: products add to the same sums.
    if (at_once && late_.empty()) return work();
    late_.push_back(std::move(work));
    ++uncommitted_;
  }
  void commit() { groups_.push_back(std::exchange(uncommitted_, std::size_t{0})); }
  void wait(std::size_t left) {
    while (groups_.size() > left) {
      for (std::size_t i = 0; i < groups_.front(); ++i) late_[i]();
      late_.erase(late_.begin(), late_.begin() + static_cast<std::ptrdiff_t>(groups_.front()));
      groups_.erase(groups_.begin());
    }
  }
  bool empty() const { return late_.empty(); }

 private:
  std::vector<std::function<void()>> late_;
  std::vector<std::size_t> groups_;
  std::size_t uncommitted_ = 0;
};

}  // namespace cuda_emulation
