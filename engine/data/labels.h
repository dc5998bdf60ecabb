// Labels as files spell them, and what they mean once all of them are known.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "bertx/dataset.h"
#include "bertx/files.h"
#include "data/text_file.h"

namespace bertx::data {

/// One label as it stands in a file.
struct LabelValue {
  enum class Form : std::uint8_t {
    plain,   ///< a field of a CSV or TSV file: a name, a number, or names with '|' between them
    name,    ///< a JSON string or boolean
    number,  ///< a JSON number
    names,   ///< a JSON array of names
    bits,    ///< a JSON array of 0 and 1
  };
  Form form = Form::plain;
  std::string text;                ///< plain, name, number
  std::vector<std::string> list;   ///< names
  std::vector<std::int32_t> ones;  ///< bits: where the 1s are
  std::int32_t length = 0;         ///< bits: how many bits
};

/// The labels of a file as they come in; each distinct one is kept once.
class LabelColumn {
 public:
  LabelColumn(const TextFile& file, std::string name) : file_(file), name_(std::move(name)) {}

  /// Returns the number of this distinct value, which resolve() turns into a label.
  std::int32_t add(LabelValue value, std::int64_t line);

  /// Sets kind and label names of `data` (those of `like` where given), and label, target or classes of every example,
  /// whose `label` is so far what add() returned.
  void resolve(Dataset& data, const Dataset* like, Split split) const;

 private:
  struct Seen {
    LabelValue value;
    std::int64_t line;
  };
  struct LabelIndex {
    const std::vector<std::string>& names;
    std::unordered_map<std::string, std::int32_t> index;
  };
  LabelKind kind_of_all() const;
  void check_single_form() const;
  std::vector<std::string> sorted_names(LabelKind kind) const;
  std::vector<std::string> names_of(const LabelValue& value) const;
  float number_of(const Seen& seen) const;
  std::int32_t index_of(const std::string& name, const LabelIndex& labels, std::int64_t line) const;
  std::vector<std::int32_t> classes_of(const Seen& seen, const LabelIndex& labels) const;
  template <class... Parts>
  [[noreturn]] void fail_at(std::int64_t line, const Parts&... parts) const {
    file_.fail_at(line, "field ", quote(name_), ": ", parts...);
  }

  const TextFile& file_;
  std::string name_;
  std::vector<Seen> seen_;
  std::unordered_map<std::string, std::int32_t> index_;
};

/// The index of `name` among `labels`: the same text, else the only one that differs in case alone, else i for the
/// integer i among LABEL_0, LABEL_1, …
std::optional<std::int32_t> find_label(const std::vector<std::string>& labels, std::string_view name);

/// LABEL_0, LABEL_1, …: what transformers writes where nobody gave names.
bool labels_say_nothing(const std::vector<std::string>& labels);

std::string lower_ascii(std::string_view text);

/// "a", "b", "c" for a message; the first few where there are many.
std::string listed(const std::vector<std::string>& names);

}  // namespace bertx::data
