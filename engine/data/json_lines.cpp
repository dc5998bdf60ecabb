#include "data/json_lines.h"

#include <nlohmann/json.hpp>
#include <unordered_set>

namespace bertx::data {
namespace {

using Type = JsonValue::Type;

constexpr std::size_t kMaxEntries = std::size_t{1} << 16;  // of one array

// Keeps the two outer levels of a document. The parser behind it is iterative, so depth costs no stack.
class Collector : public nlohmann::json_sax<nlohmann::json> {
 public:
  Collector(std::vector<std::pair<std::string, JsonValue>>& object, const TextFile& file, std::int64_t line)
      : object_(object), file_(file), line_(line) {}

  bool null() override { return add({Type::null, {}, {}, false}); }
  bool boolean(bool value) override { return add({Type::boolean, value ? "true" : "false", {}, false}); }
  bool number_integer(number_integer_t value) override { return add({Type::number, std::to_string(value), {}, false}); }
  bool number_unsigned(number_unsigned_t value) override {
    return add({Type::number, std::to_string(value), {}, false});
  }
  bool number_float(number_float_t, const string_t& written) override {
    return add({Type::number, written, {}, false});
  }
  bool string(string_t& value) override { return add({Type::string, std::move(value), {}, false}); }
  bool binary(binary_t&) override { return false; }

  bool start_object(std::size_t) override {
    if (depth_ > 0) add({Type::object, {}, {}, false});
    ++depth_;
    return true;
  }
  bool end_object() override { return --depth_, true; }
  bool start_array(std::size_t) override {
    if (depth_ == 0)
      file_.fail_at(line_, "found a JSON array, expected one object a line: {\"text\": …, \"label\": …}");
    add({Type::array, {}, {}, false});
    ++depth_;
    return true;
  }
  bool end_array() override { return --depth_, true; }

  bool key(string_t& name) override {
    if (depth_ != 1) return true;
    if (!keys_.insert(name).second) file_.fail_at(line_, "found the key ", quote(name), " twice, expected it once");
    if (object_.size() == kMaxFields) file_.fail_at(line_, "found more than ", kMaxFields, " keys in one object");
    object_.emplace_back(std::move(name), JsonValue{});
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception& error) override {
    std::string_view reason = error.what();  // "[json.exception…] parse error at …: syntax error …"
    if (const std::size_t at = reason.find(": "); at != reason.npos) reason.remove_prefix(at + 2);
    file_.fail_at(line_, "byte ", position,
                  ": found no valid JSON object, expected one a line: ", reason.substr(0, 200));
  }

 private:
  bool add(JsonValue value) {
    if (depth_ == 0) file_.fail_at(line_, "found ", type_name(value.type), ", expected one JSON object a line");
    if (depth_ == 1) {
      object_.back().second = std::move(value);
    } else if (depth_ == 2 && object_.back().second.type == Type::array) {
      JsonValue& array = object_.back().second;
      if (value.type == Type::array || value.type == Type::object) array.nested = true;
      if (array.entries.size() == kMaxEntries) {
        file_.fail_at(line_, "field ", quote(object_.back().first), ": found more than ", kMaxEntries,
                      " values in an array");
      }
      array.entries.push_back(std::move(value));
    }
    return true;
  }

  std::vector<std::pair<std::string, JsonValue>>& object_;
  const TextFile& file_;
  std::int64_t line_;
  std::int64_t depth_ = 0;
  std::unordered_set<std::string> keys_;
};

}  // namespace

std::string_view type_name(Type type) {
  switch (type) {
    case Type::null: return "null";
    case Type::boolean: return "a boolean";
    case Type::number: return "a number";
    case Type::string: return "a string";
    case Type::array: return "an array";
    case Type::object: return "an object";
  }
  return "null";
}

bool JsonLinesReader::next(std::vector<std::pair<std::string, JsonValue>>& object) {
  while (file_.next(text_)) {
    if (trimmed(text_).empty()) continue;
    object.clear();
    Collector collector(object, file_, file_.line());
    nlohmann::json::sax_parse(text_, &collector);
    return true;
  }
  return false;
}

}  // namespace bertx::data
