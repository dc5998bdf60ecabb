#include "train/directory_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "bertx/error.h"

namespace bertx {

DirectoryLock::DirectoryLock(const std::filesystem::path& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) fail(ErrorKind::io, directory.string(), ": cannot be created: ", error.message());
  descriptor_ = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor_ < 0 || access(directory.c_str(), W_OK) != 0) {
    const std::string why = std::strerror(errno);
    if (descriptor_ >= 0) close(descriptor_);
    fail(ErrorKind::io, directory.string(), ": expected a directory that can be written to: ", why);
  }
  if (flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    close(descriptor_);
    fail(ErrorKind::io, directory.string(), ": another process trains into it, expected to be the only one");
  }
}

DirectoryLock::~DirectoryLock() { close(descriptor_); }

}  // namespace bertx
