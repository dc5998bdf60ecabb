#include "io/json.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "bertx/error.h"
#include "bertx/files.h"
#include "io/posix.h"

namespace bertx {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxDepth = 64;

/// An iterator that tells outside how far the lexer has read: that is where a duplicate key or a level too deep stands.
struct Cursor {
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  const char* at;
  const char** reached;

  reference operator*() const { return *at; }
  Cursor& operator++() {
    *reached = ++at;
    return *this;
  }
  Cursor operator++(int) {
    const Cursor before = *this;
    ++*this;
    return before;
  }
  bool operator==(const Cursor& other) const { return at == other.at; }
};

/// Builds the value from the events of the parser, and refuses what json::parse would let pass.
class Builder {
 public:
  Builder(std::string_view text, std::string_view source) : text_(text), source_(source) {}

  json result;
  const char* reached = nullptr;

  bool null() { return add(nullptr); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(std::int64_t value) { return add(value); }
  bool number_unsigned(std::uint64_t value) { return add(value); }
  bool number_float(double value, const std::string&) { return add(value); }
  bool string(std::string& value) { return add(std::move(value)); }
  bool binary(json::binary_t&) { return false; }

  bool start_object(std::size_t) { return open(json::object()); }
  bool start_array(std::size_t) { return open(json::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }

  bool key(std::string& name) {
    json& object = *levels_.back();
    if (object.contains(name)) {
      fail_here("key ", quote(name), ": found twice in one object, expected once");
    }
    slot_ = &object[name];
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const json::exception& error) {
    reached = text_.data() + std::min(position, text_.size());
    // "[json.exception.parse_error.101] parse error at line 1, column 2: what": the position is written by us.
    std::string_view what = error.what();
    if (const auto colon = what.find(": "); colon != std::string_view::npos) what.remove_prefix(colon + 2);
    const std::string clean = quote(what, 300);
    fail_here("found malformed JSON: ", clean.substr(1, clean.size() - 2),
              " (expected JSON in UTF-8 without comments or NaN)");
  }

  template <class... Parts>
  [[noreturn]] void fail_here(const Parts&... parts) const {
    const auto offset = static_cast<std::size_t>(reached ? reached - text_.data() : 0);
    const std::string_view before = text_.substr(0, offset);
    const auto line = 1 + std::count(before.begin(), before.end(), '\n');
    const std::size_t start = before.rfind('\n');
    const std::size_t column = start == std::string_view::npos ? offset : offset - start - 1;
    fail(ErrorKind::bad_input, source_, ": line ", line, ", column ", column, ": ", parts...);
  }

 private:
  /// The place of the next value; levels_ holds the containers around it.
  json* place(json&& value) {
    if (levels_.empty()) return &(result = std::move(value));
    if (levels_.back()->is_array()) return &levels_.back()->emplace_back(std::move(value));
    return &(*slot_ = std::move(value));
  }
  bool add(json value) {
    place(std::move(value));
    return true;
  }
  bool open(json&& container) {
    if (levels_.size() == kMaxDepth) fail_here("nesting: found more than ", kMaxDepth, " levels, expected fewer");
    levels_.push_back(place(std::move(container)));
    return true;
  }
  bool close() {
    levels_.pop_back();
    return true;
  }

  std::string_view text_, source_;
  std::vector<json*> levels_;
  json* slot_ = nullptr;
};

std::string_view type_name(const json& value) {
  if (value.is_string()) return "string";
  if (value.is_number()) return "number";
  if (value.is_boolean()) return "boolean";
  if (value.is_array()) return "array";
  if (value.is_object()) return "object";
  return "null";
}

}  // namespace

json parse_json_text(std::string_view text, std::string_view source) {
  // nlohmann skips a byte order mark, transformers does not: what one takes the other must take.
  if (const TextEncoding encoding = detect_encoding(text); encoding != TextEncoding::utf8) {
    fail(ErrorKind::bad_input, source, ": found ", name_of(encoding), ", expected UTF-8 without a byte order mark");
  }
  Builder builder(text, source);
  // To the parser a NUL is the end of the text, whatever stands behind it.
  if (const std::size_t nul = text.find('\0'); nul != std::string_view::npos) {
    builder.reached = text.data() + nul;
    builder.fail_here("found malformed JSON: a NUL byte, expected text");
  }
  const Cursor begin{text.data(), &builder.reached}, end{text.data() + text.size(), &builder.reached};
  json::sax_parse(begin, end, &builder);
  return std::move(builder.result);
}

json parse_json_file(const std::filesystem::path& path, std::uint64_t max_bytes) {
  return parse_json_text(read_text_file(path, max_bytes), shown(path));
}

std::string json_found(const json& value) {
  if (value.is_string()) return quote(value.get_ref<const std::string&>()) + " (string)";
  if (value.is_array()) return "an array of " + std::to_string(value.size());
  if (value.is_object()) return "an object of " + std::to_string(value.size()) + " keys";
  return value.dump();
}

std::string json_setting_text(const json& value, const std::string& where) {
  const auto scalar = [&](const json& item) {
    if (item.is_structured() || item.is_null()) {
      fail(ErrorKind::bad_input, where, ": found ", json_found(value), "; expected a text, a number, true or false");
    }
    return item.is_string() ? item.get<std::string>() : item.dump();
  };
  if (!value.is_array() || value.empty()) return scalar(value);
  std::string list;
  for (const json& item : value) list += (list.empty() ? "" : ",") + scalar(item);
  return list;
}

JsonObject::JsonObject(const json& object, std::string where) : object_(&object), where_(std::move(where)) {
  if (!object.is_object()) {
    fail(ErrorKind::bad_input, where_, ": found ", json_found(object), " (", type_name(object),
         "), expected an object");
  }
}

const json* JsonObject::find(std::string_view key) const {
  const auto found = object_->find(key);
  return found == object_->end() ? nullptr : &*found;
}

bool JsonObject::has(std::string_view key) const {
  const json* value = find(key);
  return value && !value->is_null();
}

const json& JsonObject::at(std::string_view key) const {
  const json* value = find(key);
  if (!value) fail(ErrorKind::bad_input, where_, ": ", key, ": found nothing, expected this key");
  return *value;
}

void JsonObject::fail_at(std::string_view key, std::string_view expected) const {
  const json* value = find(key);
  fail(ErrorKind::bad_input, where_, ": ", key, ": found ", value ? json_found(*value) : "nothing", ", expected ",
       expected);
}

std::int64_t json_integer(const json& value, const std::string& where, std::int64_t least, std::int64_t most) {
  const bool fits =
      value.is_number_unsigned() ? value.get<std::uint64_t>() <= std::uint64_t(INT64_MAX) : value.is_number_integer();
  if (!fits || value.get<std::int64_t>() < least || value.get<std::int64_t>() > most) {
    fail(ErrorKind::bad_input, where, ": found ", json_found(value), ", expected an integer from ", least, " to ",
         most);
  }
  return value.get<std::int64_t>();
}

std::int64_t JsonObject::integer(std::string_view key, std::int64_t otherwise, std::int64_t least,
                                 std::int64_t most) const {
  return has(key) ? integer(key, least, most) : otherwise;
}

std::int64_t JsonObject::integer(std::string_view key, std::int64_t least, std::int64_t most) const {
  return json_integer(at(key), where_ + ": " + std::string(key), least, most);
}

double JsonObject::number(std::string_view key, double otherwise, double least, double most,
                          std::string_view expected) const {
  if (!has(key)) return otherwise;
  const json& value = at(key);
  if (!value.is_number()) fail_at(key, expected);
  const double number = value.get<double>();
  if (!(number >= least && number < most)) fail_at(key, expected);
  return number;
}

bool JsonObject::boolean(std::string_view key, bool otherwise) const {
  if (!has(key)) return otherwise;
  if (!at(key).is_boolean()) fail_at(key, "true or false");
  return at(key).get<bool>();
}

std::string JsonObject::string(std::string_view key, std::string_view otherwise) const {
  return has(key) ? string(key) : std::string(otherwise);
}

std::string JsonObject::string(std::string_view key) const {
  if (!at(key).is_string()) fail_at(key, "a string");
  return at(key).get<std::string>();
}

}  // namespace bertx
