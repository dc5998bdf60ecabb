// A text file line by line, in bounded memory, with nothing but valid UTF-8 let through.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "bertx/error.h"
#include "bertx/files.h"
#include "io/posix.h"

namespace bertx::data {

/// The most bytes of one line, or of one quoted record over several lines.
inline constexpr std::size_t kMaxLine = std::size_t{16} << 20;
/// The most columns of a file, and keys of a JSON object.
inline constexpr std::size_t kMaxFields = 4096;

class TextFile {
 public:
  /// Throws Error(io) where `path` cannot be opened, Error(bad_input) where it is no regular file.
  explicit TextFile(const std::filesystem::path& path);

  /// The next line without its LF or CRLF; false at the end of the file. Throws Error(bad_input) for a line over
  /// kMaxLine, UTF-16, NUL and malformed UTF-8.
  bool next(std::string& line);
  /// Of the line that next() gave last, from 1.
  std::int64_t line() const { return line_; }
  const std::filesystem::path& path() const { return path_; }

  template <class... Parts>
  [[noreturn]] void fail_at(std::int64_t line, const Parts&... parts) const {
    fail(ErrorKind::bad_input, shown(path_), ":", line, ": ", parts...);
  }

 private:
  bool refill();
  void check(std::string_view line) const;

  std::filesystem::path path_;
  Descriptor file_;
  std::uint64_t offset_ = 0;  // of what refill() reads next
  std::vector<char> buffer_;
  std::size_t begin_ = 0, end_ = 0;  // what is left in the buffer
  std::int64_t line_ = 0;
};

/// `text` without blanks and control characters at its ends.
std::string_view trimmed(std::string_view text);

}  // namespace bertx::data
