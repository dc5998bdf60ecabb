// JSON of untrusted files: strict, bounded, and with messages that name file, key, what was found and what was
// expected.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace bertx {

/// Parses one JSON text. Throws Error(bad_input) naming `source` and the position for: a byte order mark, malformed
/// UTF-8, comments, NaN, numbers beyond double, duplicate keys, more than 64 levels, anything after the value.
/// Allocates at most 40 times the size of the text.
nlohmann::json parse_json_text(std::string_view text, std::string_view source);

/// The same for a regular file of at most `max_bytes`; Error(io) when it cannot be read.
nlohmann::json parse_json_file(const std::filesystem::path& path, std::uint64_t max_bytes = 16u << 20);

/// "text \"abc\"", "number 3.5", "null": a value as messages show it.
std::string json_found(const nlohmann::json& value);

/// A text, a number, true, false, or a list of them as it would stand on a command line: `0.5`, `true`, `1,2`. Throws
/// Error(bad_input) that begins with `where` for anything else.
std::string json_setting_text(const nlohmann::json& value, const std::string& where);

/// The keys of one object, read with a type and a range. `where` begins every message: "dir/config.json".
class JsonObject {
 public:
  JsonObject(const nlohmann::json& object, std::string where);

  /// Present and not null.
  bool has(std::string_view key) const;
  const nlohmann::json& at(std::string_view key) const;    ///< throws where the key is missing
  const nlohmann::json* find(std::string_view key) const;  ///< null where missing

  // A missing or null key gives `otherwise`.
  std::int64_t integer(std::string_view key, std::int64_t otherwise, std::int64_t least, std::int64_t most) const;
  /// `range` holds when least <= value < most; `expected` says so in words.
  double number(std::string_view key, double otherwise, double least, double most, std::string_view expected) const;
  bool boolean(std::string_view key, bool otherwise) const;
  std::string string(std::string_view key, std::string_view otherwise) const;

  // A missing or null key is an error.
  std::int64_t integer(std::string_view key, std::int64_t least, std::int64_t most) const;
  std::string string(std::string_view key) const;

  [[noreturn]] void fail_at(std::string_view key, std::string_view expected) const;
  const std::string& where() const { return where_; }

 private:
  const nlohmann::json* object_;
  std::string where_;
};

/// The value of an integer of JSON, checked; `where` names it.
std::int64_t json_integer(const nlohmann::json& value, const std::string& where, std::int64_t least, std::int64_t most);

}  // namespace bertx
