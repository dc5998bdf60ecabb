// One JSON object on one line, for streams of results: no tree in between, floats with all their digits.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace bertx::tools {

/// "…" with escapes; malformed UTF-8 becomes U+FFFD.
std::string json_text(std::string_view text);

class JsonLine {
 public:
  JsonLine& text(std::string_view key, std::string_view value);
  JsonLine& integer(std::string_view key, std::int64_t value);
  JsonLine& number(std::string_view key, float value);  ///< null where it is not finite
  JsonLine& integers(std::string_view key, std::span<const std::int32_t> values);
  JsonLine& numbers(std::string_view key, std::span<const float> values);
  /// `json` is JSON already.
  JsonLine& raw(std::string_view key, std::string_view json);
  std::string str() const { return line_ + "}"; }

 private:
  void key(std::string_view name);
  std::string line_ = "{";
};

}  // namespace bertx::tools
