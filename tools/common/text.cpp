#include "common/text.h"

#include <array>
#include <charconv>
#include <cmath>

#include "bertx/files.h"

namespace bertx::tools {

std::string printable(std::string_view text) {
  const std::string inside = quote(text, 200);
  const bool wrapped = inside.size() >= 2 && inside.front() == '"' && inside.back() == '"';
  return wrapped ? inside.substr(1, inside.size() - 2) : inside;
}

std::string fixed(double value, int digits) {
  std::array<char, 400> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::fixed, digits);
  return {buffer.data(), end.ptr};
}

std::string bytes_text(double bytes) {
  const char* unit = "B";
  for (const char* next : {"KiB", "MiB", "GiB", "TiB"}) {
    if (std::fabs(bytes) < 1024) break;
    bytes /= 1024;
    unit = next;
  }
  return fixed(bytes, unit[0] == 'B' ? 0 : 1) + " " + unit;
}

std::string count_text(std::int64_t n) {
  std::string digits = std::to_string(n);
  const std::ptrdiff_t first = n < 0 ? 1 : 0;
  for (std::ptrdiff_t at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > first; at -= 3) {
    digits.insert(static_cast<std::size_t>(at), 1, ',');
  }
  return digits;
}

std::string scaled_text(double n) {
  if (std::fabs(n) < 1000) return fixed(n, n == std::floor(n) ? 0 : 1);
  std::string_view unit = "";
  for (const std::string_view next : {"k", "M", "G", "T", "P"}) {
    if (std::fabs(n) < 1000) break;
    n /= 1000;
    unit = next;
  }
  return fixed(n, 2) + " " + std::string(unit);
}

std::string duration_text(double seconds) {
  if (!(seconds >= 0) || seconds > 1e9) return "?";
  const auto total = static_cast<std::int64_t>(std::llround(seconds));
  const auto two = [](std::int64_t n) { return (n < 10 ? "0" : "") + std::to_string(n); };
  const std::int64_t hours = total / 3600, minutes = total / 60 % 60;
  if (hours > 0) return std::to_string(hours) + ":" + two(minutes) + ":" + two(total % 60);
  return std::to_string(minutes) + ":" + two(total % 60);
}

std::string percent_text(double share) { return fixed(100 * share, 1) + " %"; }

}  // namespace bertx::tools
