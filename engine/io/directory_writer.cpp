// Directories that appear complete or not at all. A temporary belongs to the process that holds its lock (flock): the
// kernel drops the lock when the process dies, so a stale temporary is one that can be locked.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "bertx/error.h"
#include "bertx/files.h"
#include "io/posix.h"

namespace bertx {
namespace {

namespace fs = std::filesystem;

/// The real directory behind links, without a trailing slash.
fs::path resolve_target(const fs::path& target) {
  std::error_code error;
  fs::path path = fs::weakly_canonical(fs::absolute(target, error), error);
  if (error) fail(ErrorKind::io, shown(target), ": cannot resolve the path: ", error.message());
  if (!path.has_filename()) path = path.parent_path();
  if (!path.has_filename()) fail(ErrorKind::usage, shown(target), ": found the root, expected a directory to write");
  return path;
}

void check_replaceable(const fs::path& target) {
  std::error_code error;
  if (fs::is_empty(target, error) || fs::exists(target / "config.json", error) ||
      fs::exists(target / "trainer_state.json", error)) {
    return;
  }
  fail(ErrorKind::usage, shown(target), ": found a directory with other files, expected a new or empty one, ",
       "or one with a config.json, because its content is replaced");
}

/// Files of `from` that `to` lacks appear in both: a link costs nothing and leaves the old directory whole.
void link_missing(const fs::path& from, const fs::path& to) {
  for (const fs::directory_entry& item : fs::directory_iterator(from)) {
    const fs::path other = to / item.path().filename();
    const bool is_directory = item.is_directory() && !item.is_symlink();
    if (is_directory && (fs::create_directory(other), fs::is_directory(other))) {
      link_missing(item.path(), other);
    } else if (!fs::exists(fs::symlink_status(other)) &&
               ::linkat(AT_FDCWD, item.path().c_str(), AT_FDCWD, other.c_str(), 0) != 0) {
      fs::copy(item.path(), other, fs::copy_options::copy_symlinks);  // a file system without links
    }
  }
}

/// Files first, then the directory that names them.
void sync_tree(const fs::path& directory) {
  for (const fs::directory_entry& item : fs::directory_iterator(directory)) {
    if (item.is_symlink()) continue;
    if (item.is_directory()) {
      sync_tree(item.path());
    } else if (item.is_regular_file()) {
      const Descriptor file(::open(item.path().c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
      if (!file) fail(ErrorKind::io, shown(item.path()), ": cannot open: ", system_text(errno));
      sync_descriptor(file.get(), item.path());
    }
  }
  sync_directory(directory);
}

/// Puts `temporary` at `target` in one step; afterwards `temporary` holds the old directory, if there was one.
void exchange(const fs::path& temporary, const fs::path& target) {
  for (int attempt = 0; attempt < 100; ++attempt) {
    if (::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, target.c_str(), RENAME_EXCHANGE) == 0) return;
    const int error = errno;
    // No target yet, or a file system that cannot exchange: a plain rename, which also replaces an empty directory.
    if (::rename(temporary.c_str(), target.c_str()) == 0) return;
    const bool full = errno == ENOTEMPTY || errno == EEXIST;
    if (!full) fail(ErrorKind::io, shown(target), ": cannot rename the finished directory: ", system_text(errno));
    if (error == ENOENT) continue;  // another writer was faster: exchange with its directory
    // Two steps. A crash between them leaves the old directory beside the target; recover_old() puts it back.
    const fs::path old = parent_of(target) / ("." + target.filename().native() + ".old");
    if (::rename(target.c_str(), old.c_str()) != 0 || ::rename(temporary.c_str(), target.c_str()) != 0) {
      fail(ErrorKind::io, shown(target), ": cannot replace the directory: ", system_text(errno));
    }
    std::error_code ignored;
    fs::remove_all(old, ignored);
    return;
  }
  fail(ErrorKind::io, shown(target), ": cannot replace the directory: other writers keep changing it");
}

/// Ends a replacement in two steps that a crash has cut off.
void recover_old(const fs::path& target) {
  const fs::path old = parent_of(target) / ("." + target.filename().native() + ".old");
  std::error_code error;
  if (!fs::exists(old, error)) return;
  if (fs::exists(target, error)) {
    fs::remove_all(old, error);
  } else {
    ::rename(old.c_str(), target.c_str());
  }
}

}  // namespace

void remove_stale_temporaries(const fs::path& target) {
  const std::string prefix = temporary_prefix(target);
  std::error_code error;
  for (const fs::directory_entry& item : fs::directory_iterator(parent_of(target), error)) {
    if (!item.path().filename().native().starts_with(prefix)) continue;
    const Descriptor stale(::open(item.path().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (stale && ::flock(stale.get(), LOCK_EX | LOCK_NB) == 0) {
      std::error_code ignored;
      fs::remove_all(item.path(), ignored);
    }
  }
}

DirectoryWriter::DirectoryWriter(const fs::path& target, Existing existing)
    : target_(resolve_target(target)), existing_(existing) {
  std::error_code error;
  fs::create_directories(parent_of(target_), error);
  if (error) fail(ErrorKind::io, shown(target), ": cannot create the parent directory: ", error.message());
  recover_old(target_);
  const fs::file_status status = fs::status(target_, error);
  if (fs::exists(status) && !fs::is_directory(status)) {
    fail(ErrorKind::io, shown(target), ": found a file, expected a directory or nothing");
  }
  if (fs::exists(status) && existing == Existing::replace) check_replaceable(target_);
  remove_stale_temporaries(target_);

  int reason = EEXIST;
  for (int attempt = 0; attempt < 100 && lock_ < 0; ++attempt) {
    temporary_ = temporary_name(target_);
    if (::mkdir(temporary_.c_str(), 0777) != 0) {
      reason = errno;
      if (reason == EEXIST) continue;
      break;
    }
    Descriptor lock(::open(temporary_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!lock) continue;
    // A cleaner may have come between the creation and the lock: then the name is gone or its lock is held.
    struct stat named {};
    const bool locked = ::flock(lock.get(), LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK;
    if (locked && ::stat(temporary_.c_str(), &named) == 0) lock_ = lock.release();
  }
  if (lock_ < 0) fail(ErrorKind::io, shown(target), ": cannot create a directory beside it: ", system_text(reason));
}

DirectoryWriter::~DirectoryWriter() {
  if (lock_ < 0) return;
  std::error_code ignored;
  fs::remove_all(temporary_, ignored);
  ::close(lock_);
}

void DirectoryWriter::commit() {
  try {
    std::error_code error;
    if (existing_ == Existing::merge && fs::is_directory(target_, error)) link_missing(target_, temporary_);
    sync_tree(temporary_);
  } catch (const fs::filesystem_error& error) {
    fail(ErrorKind::io, shown(target_), ": cannot complete the directory: ", error.code().message(), " (",
         shown(error.path1()), ")");
  }
  exchange(temporary_, target_);
  // From here on the temporary name, if it exists, is the old directory.
  std::error_code ignored;
  fs::remove_all(temporary_, ignored);
  ::close(lock_);
  lock_ = -1;
  sync_directory(parent_of(target_));
}

}  // namespace bertx
