// Standard input and output of the commands: results that are checked to have been written, lines that are read with a
// limit and as soon as they are there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <string>
#include <string_view>

namespace bertx::tools {

/// Thrown when the reader of our standard output has gone away (`bertx predict … | head -1`).
class ClosedPipe : public std::exception {
 public:
  const char* what() const noexcept override { return "standard output: closed by its reader"; }
};

/// Gives descriptors 0 to 2 that are closed to /dev/null, so that no model file becomes "standard output"; there
/// writing to a closed standard output stays an error. Also makes a write to a closed pipe an error instead of a
/// signal.
void guard_standard_descriptors();

/// "<who>: error: <what>" on stderr; `what` may hold untrusted text.
void complain(std::string_view who, std::string_view what);

/// Standard output. Throws ClosedPipe, or Error(io) when it cannot be written (disk full, closed).
class Output {
 public:
  void write(std::string_view text);
  void line(std::string_view text);
  void flush();

 private:
  std::string pending_;
};

/// Lines of a file or of standard input ("-"), without their end (LF or CRLF).
class LineReader {
 public:
  explicit LineReader(const std::string& path);
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  /// False at the end. Throws Error(bad_input) for a line of more than 16 MiB, Error(io) when reading fails.
  bool next(std::string& line);
  /// A call of next() would return at once: a whole line, or the end, is there.
  bool ready();
  std::int64_t line_number() const { return lines_; }  ///< of the line that next() gave last, from 1
  const std::string& name() const { return name_; }    ///< for messages

 private:
  bool fill();

  std::string name_, buffer_;
  int descriptor_ = 0;
  std::size_t begin_ = 0, searched_ = 0;
  std::int64_t lines_ = 0;
  bool ended_ = false;
};

}  // namespace bertx::tools
