// The one exception type of bertx. It lives in the lowest package so that every package throws the same.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace bertx {

/// What went wrong, as a caller can react to it. The value is the exit code of the command line tool.
enum class ErrorKind : int {
  usage = 2,          ///< a flag, option or argument that makes no sense
  bad_input = 3,      ///< the content of a file or text
  io = 4,             ///< a file cannot be opened, read or written; the disk is full
  out_of_memory = 5,  ///< what was needed and what there is stands in the text
  numeric = 6,        ///< a loss, gradient or weight is not finite
};

/// Thrown for everything that input, files, flags or the machine can cause. The text names what was found
/// and what was expected. Our own mistakes are asserts, never Errors.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& text) : std::runtime_error(text), kind_(kind) {}
  ErrorKind kind() const noexcept { return kind_; }

 private:
  ErrorKind kind_;
};

/// "a", 3, "b" -> "a3b"
template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

template <class... Parts>
[[noreturn]] void fail(ErrorKind kind, const Parts&... parts) {
  throw Error(kind, text(parts...));
}

}  // namespace bertx
