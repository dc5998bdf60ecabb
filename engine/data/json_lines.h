// Rows of a JSON Lines file: one object a line.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/labels.h"
#include "data/text_file.h"

namespace bertx::data {

struct JsonValue {
  enum class Type : std::uint8_t { null, boolean, number, string, array, object };
  Type type = Type::null;
  std::string text;                ///< boolean, number (as written), string
  std::vector<JsonValue> entries;  ///< array: what is not an array or object itself
  bool nested = false;             ///< array: holds arrays or objects
};

std::string_view type_name(JsonValue::Type type);

class JsonLinesReader {
 public:
  explicit JsonLinesReader(const std::filesystem::path& path) : file_(path) {}

  /// Keys and values of the next line that is not blank, in the order of the file; false at the end. Throws
  /// Error(bad_input) where the line is no JSON object or names a key twice.
  bool next(std::vector<std::pair<std::string, JsonValue>>& object);

  std::int64_t line() const { return file_.line(); }
  const TextFile& file() const { return file_; }

 private:
  TextFile file_;
  std::string text_;
};

/// A label from JSON; `fail` is called with what was found and what was expected where there is none in it.
template <class Fail>
LabelValue label_from_json(const JsonValue& value, const Fail& fail) {
  using Type = JsonValue::Type;
  LabelValue label;
  if (value.nested || value.type == Type::object) fail("an object or a nested array", "a label");
  label.form =
      value.type == Type::string || value.type == Type::boolean ? LabelValue::Form::name : LabelValue::Form::number;
  label.text = value.text;
  if (value.type != Type::array) return label;
  const bool numbers = !value.entries.empty() && value.entries.front().type == Type::number;
  label.form = numbers ? LabelValue::Form::bits : LabelValue::Form::names;
  for (const JsonValue& entry : value.entries) {
    if ((entry.type == Type::number) != numbers || (!numbers && entry.type != Type::string)) {
      fail(type_name(entry.type), numbers ? "only numbers in this array" : "names in this array");
    }
    if (!numbers) {
      label.list.push_back(entry.text);
      continue;
    }
    const auto number = parse_double(entry.text);
    if (number != 0.0 && number != 1.0) fail(entry.text, "0 or 1 in an array (class names are written as strings)");
    if (number == 1.0) label.ones.push_back(label.length);
    ++label.length;
  }
  return label;
}

}  // namespace bertx::data
