// One training per output directory: two would rotate away each other's checkpoints.
#pragma once

#include <filesystem>

namespace bertx {

class DirectoryLock {
 public:
  /// Makes the directory where it is missing. Throws Error(io) when it cannot be made or written to, or when another
  /// process trains into it. Where the file system knows no locks there is none.
  explicit DirectoryLock(const std::filesystem::path& directory);
  ~DirectoryLock();
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

 private:
  int descriptor_ = -1;
};

}  // namespace bertx
