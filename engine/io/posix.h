// Descriptors, syncing and files that appear complete or not at all, over the calls of the system.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

namespace bertx {

/// Owns a file descriptor.
class Descriptor {
 public:
  explicit Descriptor(int number = -1) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor();
  int get() const { return number_; }
  int release() { return std::exchange(number_, -1); }
  explicit operator bool() const { return number_ >= 0; }

 private:
  int number_;
};

/// "No space left on device"
std::string system_text(int error);
/// A path for a message: control characters and malformed UTF-8 as \xNN, no quotes.
std::string shown(const std::filesystem::path& path);

/// Opens a regular file for reading, without waiting on a FIFO. Error(io) when it cannot be opened; Error(bad_input)
/// that says what else it is.
Descriptor open_regular(const std::filesystem::path& path, struct stat& status);

/// Reads up to `bytes` at `offset`; returns fewer only at the end of the file. Error(io).
std::size_t read_at(int descriptor, void* to, std::size_t bytes, std::uint64_t offset,
                    const std::filesystem::path& path);

void sync_descriptor(int descriptor, const std::filesystem::path& path);
/// The directory itself, so that the names in it survive a crash of the machine.
void sync_directory(const std::filesystem::path& path);

/// The directory a file name stands in; "." for a bare name.
std::filesystem::path parent_of(const std::filesystem::path& path);
/// ".<name>.tmp-": how temporaries of a target begin, so that a later writer finds stale ones.
std::string temporary_prefix(const std::filesystem::path& target);
/// A fresh name of that kind; unique within this process.
std::filesystem::path temporary_name(const std::filesystem::path& target);

/// A file written under a temporary name beside its target; commit() syncs and renames it. Without commit it goes.
/// Locked while it is written: that is how a later writer tells a stale one.
class AtomicFile {
 public:
  explicit AtomicFile(const std::filesystem::path& target);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* bytes, std::size_t count);
  void commit();

 private:
  std::filesystem::path target_, temporary_;
  Descriptor descriptor_;
};

}  // namespace bertx
