#include "io/posix.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "bertx/error.h"
#include "bertx/files.h"

namespace bertx {
namespace {

std::string_view kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a FIFO (named pipe)";
  if (S_ISCHR(mode)) return "a character device";
  if (S_ISBLK(mode)) return "a block device";
  if (S_ISSOCK(mode)) return "a socket";
  return "not a regular file";
}

}  // namespace

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this != &other) {
    if (number_ >= 0) ::close(number_);
    number_ = std::exchange(other.number_, -1);
  }
  return *this;
}

Descriptor::~Descriptor() {
  if (number_ >= 0) ::close(number_);
}

std::string system_text(int error) { return std::generic_category().message(error); }

std::string shown(const std::filesystem::path& path) {
  const std::string text = quote(path.native(), 4096);
  return text.substr(1, text.size() - 2);
}

Descriptor open_regular(const std::filesystem::path& path, struct stat& status) {
  // O_NONBLOCK: opening a FIFO that nobody writes to returns at once; it changes nothing for regular files.
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!file) {
    const int error = errno;
    if (error == ENXIO) fail(ErrorKind::bad_input, shown(path), ": found a socket or device, expected a regular file");
    fail(ErrorKind::io, shown(path), ": cannot open: ", system_text(error));
  }
  if (::fstat(file.get(), &status) != 0) fail(ErrorKind::io, shown(path), ": cannot stat: ", system_text(errno));
  if (!S_ISREG(status.st_mode)) {
    fail(ErrorKind::bad_input, shown(path), ": found ", kind_of(status.st_mode), ", expected a regular file");
  }
  return file;
}

std::size_t read_at(int descriptor, void* to, std::size_t bytes, std::uint64_t offset,
                    const std::filesystem::path& path) {
  std::size_t done = 0;
  while (done < bytes) {
    const std::size_t piece = std::min<std::size_t>(bytes - done, 1u << 30);
    const ssize_t got = ::pread(descriptor, static_cast<char*>(to) + done, piece, static_cast<off_t>(offset + done));
    if (got == 0) break;
    if (got < 0) {
      if (errno == EINTR) continue;
      fail(ErrorKind::io, shown(path), ": cannot read: ", system_text(errno));
    }
    done += static_cast<std::size_t>(got);
  }
  return done;
}

void sync_descriptor(int descriptor, const std::filesystem::path& path) {
  while (::fsync(descriptor) != 0) {
    if (errno == EINTR) continue;
    if (errno == EINVAL || errno == ENOTSUP) return;  // a file system without fsync
    fail(ErrorKind::io, shown(path), ": cannot write to the disk: ", system_text(errno));
  }
}

void sync_directory(const std::filesystem::path& path) {
  const Descriptor directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) fail(ErrorKind::io, shown(path), ": cannot open the directory: ", system_text(errno));
  sync_descriptor(directory.get(), path);
}

std::filesystem::path parent_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

std::string temporary_prefix(const std::filesystem::path& target) { return "." + target.filename().native() + ".tmp-"; }

std::filesystem::path temporary_name(const std::filesystem::path& target) {
  static std::atomic<unsigned> counter{0};
  return parent_of(target) /
         (temporary_prefix(target) + std::to_string(::getpid()) + "-" + std::to_string(counter.fetch_add(1)));
}

AtomicFile::AtomicFile(const std::filesystem::path& target) : target_(target) {
  struct stat status {};
  if (::stat(target.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    fail(ErrorKind::io, shown(target), ": cannot write: found ", kind_of(status.st_mode), ", expected a regular file");
  }
  remove_stale_temporaries(target);
  for (int attempt = 0; attempt < 100 && !descriptor_; ++attempt) {
    temporary_ = temporary_name(target);
    descriptor_ = Descriptor(::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    if (!descriptor_) {
      if (errno == EEXIST) continue;
      break;
    }
    // A cleaner may have taken the file between its creation and the lock: then its name is gone, and we try again.
    struct stat named {};
    const bool locked = ::flock(descriptor_.get(), LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK;
    if (!locked || ::stat(temporary_.c_str(), &named) != 0) descriptor_ = Descriptor();
  }
  if (!descriptor_) fail(ErrorKind::io, shown(target), ": cannot write: ", system_text(errno));
}

AtomicFile::~AtomicFile() {
  if (descriptor_) ::unlink(temporary_.c_str());
}

void AtomicFile::write(const void* bytes, std::size_t count) {
  const char* from = static_cast<const char*>(bytes);
  while (count > 0) {
    const ssize_t done = ::write(descriptor_.get(), from, std::min<std::size_t>(count, 1u << 30));
    if (done < 0) {
      if (errno == EINTR) continue;
      fail(ErrorKind::io, shown(target_), ": cannot write: ", system_text(errno));
    }
    from += done;
    count -= static_cast<std::size_t>(done);
  }
}

void AtomicFile::commit() {
  sync_descriptor(descriptor_.get(), target_);
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) {
    fail(ErrorKind::io, shown(target_), ": cannot rename the finished file to this name: ", system_text(errno));
  }
  descriptor_ = Descriptor();
  sync_directory(parent_of(target_));
}

}  // namespace bertx
