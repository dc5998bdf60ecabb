#include "io/safetensors_header.h"

#include <algorithm>
#include <numeric>

#include "bertx/error.h"
#include "bertx/files.h"
#include "io/json.h"

namespace bertx {
namespace {

constexpr std::string_view kTypes = "F64, F32, F16, BF16, I64, U64, I32, U32, I16, U16, I8, U8 or BOOL";

/// Where the bytes of a tensor lie, counted from the end of the header.
struct Range {
  std::uint64_t begin = 0, end = 0;
};

/// Takes the events of the JSON parser straight into entries: no tree is built, so a header cannot make us allocate
/// more than a few times its size. Level 1 is the object of tensors, 2 a tensor or the metadata, 3 a list of integers.
class HeaderHandler {
 public:
  explicit HeaderHandler(std::string_view source) : source_(source) {}

  std::vector<TensorEntry> entries;
  std::vector<Range> ranges;
  Metadata metadata;

  bool null() { unexpected("null"); }
  bool boolean(bool value) { unexpected(value ? "true" : "false"); }
  bool number_integer(std::int64_t value) { unexpected(std::to_string(value)); }  // only negative ones come here
  bool number_float(double, const std::string& digits) { unexpected(quote(digits)); }
  bool binary(nlohmann::json::binary_t&) { unexpected("binary"); }

  bool number_unsigned(std::uint64_t value) {
    if (level_ != 3) unexpected(std::to_string(value));
    if (field_ == Field::offsets) {
      if (count_ == 2) bad("data_offsets: found more than 2 numbers, expected [begin, end]");
      (count_ == 0 ? ranges.back().begin : ranges.back().end) = value;
    } else {
      if (count_ == kMaxRank) bad("shape: found more than ", kMaxRank, " dimensions, expected at most ", kMaxRank);
      if (value > static_cast<std::uint64_t>(INT64_MAX)) bad("shape: found ", value, ", expected at most ", INT64_MAX);
      entries.back().shape.push_back(static_cast<std::int64_t>(value));
    }
    ++count_;
    return true;
  }

  bool string(std::string& value) {
    if (level_ == 2 && in_metadata_) {
      if (!metadata.emplace(std::move(key_), std::move(value)).second) bad("found a key twice, expected it once");
      return true;
    }
    if (level_ != 2 || field_ != Field::dtype) unexpected(quote(value));
    const auto type = element_type_of(value);
    if (!type) bad("dtype: found ", quote(value), ", expected ", kTypes);
    entries.back().type = *type;
    return true;
  }

  bool start_object(std::size_t) {
    if (level_ >= 2) unexpected("an object");
    if (++level_ == 1) return true;
    in_metadata_ = key_ == "__metadata__";
    if (in_metadata_) {
      if (metadata_seen_) fail(ErrorKind::bad_input, source_, ": header: __metadata__: found twice, expected once");
      metadata_seen_ = true;
      return true;
    }
    if (!is_plain_name(key_)) {
      fail(ErrorKind::bad_input, source_, ": header: tensor name: found ", quote(key_),
           ", expected a name without control characters");
    }
    entries.emplace_back().name = std::move(key_);
    ranges.emplace_back();
    seen_ = 0;
    return true;
  }

  bool end_object() {
    if (level_-- == 2 && !in_metadata_) {
      for (const Field field : {Field::dtype, Field::shape, Field::offsets}) {
        if (!(seen_ & bit(field))) bad(name_of(field), ": found nothing, expected this key");
      }
    }
    in_metadata_ = false;
    field_ = Field::none;
    return true;
  }

  bool key(std::string& name) {
    key_ = std::move(name);
    if (level_ == 1 || in_metadata_) return true;
    field_ = key_ == "dtype" ? Field::dtype : key_ == "shape" ? Field::shape : Field::offsets;
    if (field_ == Field::offsets && key_ != "data_offsets") {
      bad("found key ", quote(key_), ", expected only dtype, shape and data_offsets");
    }
    if (seen_ & bit(field_)) bad(name_of(field_), ": found twice, expected once");
    seen_ |= bit(field_);
    return true;
  }

  bool start_array(std::size_t) {
    if (level_ != 2 || in_metadata_ || (field_ != Field::shape && field_ != Field::offsets)) unexpected("an array");
    ++level_;
    count_ = 0;
    return true;
  }

  bool end_array() {
    if (field_ == Field::offsets && count_ != 2) {
      bad("data_offsets: found ", count_, " numbers, expected [begin, end]");
    }
    --level_;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception& error) {
    std::string_view what = error.what();
    if (const auto colon = what.find(": "); colon != std::string_view::npos) what.remove_prefix(colon + 2);
    const std::string clean = quote(what, 300);
    fail(ErrorKind::bad_input, source_, ": header: byte ", position,
         ": found malformed JSON: ", clean.substr(1, clean.size() - 2), " (expected one JSON object in UTF-8)");
  }

 private:
  enum class Field { none, dtype, shape, offsets };
  static unsigned bit(Field field) { return 1u << static_cast<unsigned>(field); }
  static std::string_view name_of(Field field) {
    return field == Field::dtype ? "dtype" : field == Field::shape ? "shape" : "data_offsets";
  }

  template <class... Parts>
  [[noreturn]] void bad(const Parts&... parts) const {
    if (in_metadata_) fail(ErrorKind::bad_input, source_, ": header: __metadata__: ", parts...);
    fail(ErrorKind::bad_input, source_, ": header: tensor ", quote(entries.back().name), ": ", parts...);
  }

  [[noreturn]] void unexpected(std::string_view found) const {
    if (level_ == 0) {
      fail(ErrorKind::bad_input, source_, ": header: found ", found, ", expected an object of tensors");
    }
    if (level_ == 1) {
      fail(ErrorKind::bad_input, source_, ": header: tensor ", quote(key_), ": found ", found,
           ", expected an object with dtype, shape and data_offsets");
    }
    if (in_metadata_) bad(quote(key_), ": found ", found, ", expected a string");
    bad(name_of(field_), ": found ", found, ", expected ",
        field_ == Field::dtype ? "a string"
        : level_ == 3          ? "integers from 0"
                               : "an array of integers from 0");
  }

  std::string_view source_;
  std::string key_;
  int level_ = 0;
  bool in_metadata_ = false, metadata_seen_ = false;
  Field field_ = Field::none;
  unsigned seen_ = 0;
  std::size_t count_ = 0;
};

/// Sets entry.bytes from type and shape; every product is checked. A zero does not excuse the other dimensions: code
/// that multiplies in another order must be safe too.
void set_bytes(TensorEntry& entry, std::string_view source) {
  std::uint64_t product = size_of(entry.type);
  bool zero = false;
  for (const std::int64_t dimension : entry.shape) {
    zero = zero || dimension == 0;
    if (dimension != 0 && product > static_cast<std::uint64_t>(INT64_MAX) / static_cast<std::uint64_t>(dimension)) {
      fail(ErrorKind::bad_input, source, ": header: tensor ", quote(entry.name), ": shape: found ", entry.shape_text(),
           " of ", name_of(entry.type), ", whose size overflows; expected at most ", INT64_MAX, " bytes");
    }
    if (dimension != 0) product *= static_cast<std::uint64_t>(dimension);
  }
  entry.bytes = zero ? 0 : product;
}

/// Every byte behind the header belongs to exactly one tensor.
void check_ranges(std::span<const TensorEntry> entries, std::span<const Range> ranges,
                  std::span<const std::uint32_t> order, std::uint64_t data_bytes, std::string_view source) {
  std::uint64_t expected = 0;
  for (const std::uint32_t i : order) {
    const std::uint64_t begin = ranges[i].begin, end = ranges[i].end;
    const auto bad = [&](const auto&... parts) {
      fail(ErrorKind::bad_input, source, ": header: tensor ", quote(entries[i].name), ": data_offsets: found [", begin,
           ", ", end, "], ", parts...);
    };
    if (end < begin) bad("expected an end that is not before the begin");
    if (begin < expected) bad("which overlaps the tensor before it; expected ", expected, " to begin with");
    if (begin > expected)
      bad("which leaves a hole of ", begin - expected, " bytes; expected ", expected, " to begin with");
    if (end > data_bytes)
      bad("expected at most ", data_bytes, ", the bytes behind the header (is the file truncated?)");
    if (end - begin != entries[i].bytes) {
      bad("which is ", end - begin, " bytes; expected ", entries[i].bytes, " for shape ", entries[i].shape_text(),
          " of ", name_of(entries[i].type));
    }
    expected = end;
  }
  if (expected != data_bytes) {
    fail(ErrorKind::bad_input, source, ": found ", data_bytes - expected, " bytes behind the last tensor, expected 0");
  }
}

}  // namespace

bool is_plain_name(std::string_view name) {
  return !name.empty() && std::string_view(quote(name, name.size())) == "\"" + std::string(name) + "\"";
}

SafetensorsHeader read_safetensors_header(std::span<std::byte> file, std::string_view source) {
  if (file.size() < 8) {
    fail(ErrorKind::bad_input, source, ": found ", file.size(),
         " bytes, expected a safetensors file of at least 10 (the length of the header comes first)");
  }
  std::uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = length << 8 | std::to_integer<std::uint64_t>(file[static_cast<std::size_t>(i)]);
  const std::uint64_t most = std::min<std::uint64_t>(kMaxHeaderBytes, file.size() - 8);
  if (length < 2 || length > most) {
    fail(ErrorKind::bad_input, source, ": header length: found ", length, ", expected 2 to ", most, " (the file has ",
         file.size(), " bytes; is it safetensors, and complete?)");
  }
  const std::string_view json(reinterpret_cast<const char*>(file.data()) + 8, length);
  const std::size_t brace = json.find_first_not_of(" \t\r\n");
  if (brace == std::string_view::npos || json[brace] != '{') {
    fail(ErrorKind::bad_input, source, ": header: found ",
         brace == std::string_view::npos ? "only blanks" : quote(json.substr(brace, 8)), ", expected {");
  }
  // To the parser a NUL is the end of the text, whatever stands behind it.
  if (const std::size_t nul = json.find('\0'); nul != std::string_view::npos) {
    fail(ErrorKind::bad_input, source, ": header: byte ", nul,
         ": found a NUL byte, expected JSON text padded with blanks");
  }

  HeaderHandler handler(source);
  nlohmann::json::sax_parse(json.begin(), json.end(), &handler);
  const std::vector<Range>& ranges = handler.ranges;
  std::vector<std::uint32_t> order(handler.entries.size());
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    return std::tie(ranges[a].begin, ranges[a].end, a) < std::tie(ranges[b].begin, ranges[b].end, b);
  });
  for (TensorEntry& entry : handler.entries) set_bytes(entry, source);
  const std::span<std::byte> data = file.subspan(8 + length);
  check_ranges(handler.entries, ranges, order, data.size(), source);

  SafetensorsHeader header;
  header.metadata = std::move(handler.metadata);
  header.entries.reserve(order.size());
  for (const std::uint32_t i : order) {
    header.entries.push_back(std::move(handler.entries[i]));
    header.entries.back().data = data.data() + ranges[i].begin;
  }
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(),
            [&](std::uint32_t a, std::uint32_t b) { return header.entries[a].name < header.entries[b].name; });
  for (std::size_t i = 1; i < order.size(); ++i) {
    if (header.entries[order[i]].name == header.entries[order[i - 1]].name) {
      fail(ErrorKind::bad_input, source, ": header: tensor ", quote(header.entries[order[i]].name),
           ": found twice, expected once");
    }
  }
  header.by_name = std::move(order);
  return header;
}

const TensorEntry* find_by_name(std::span<const TensorEntry> entries, std::span<const std::uint32_t> by_name,
                                std::string_view name) {
  const auto found =
      std::lower_bound(by_name.begin(), by_name.end(), name,
                       [&](std::uint32_t i, std::string_view wanted) { return entries[i].name < wanted; });
  return found != by_name.end() && entries[*found].name == name ? &entries[*found] : nullptr;
}

}  // namespace bertx
