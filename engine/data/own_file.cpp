// A user's own CSV, TSV or JSONL file as a Dataset.
#include <algorithm>
#include <optional>

#include "bertx/dataset.h"
#include "data/delimited.h"
#include "data/json_lines.h"
#include "data/labels.h"
#include "data/texts.h"

namespace bertx {
namespace {

using namespace data;

// Which columns are read, by name; an absent label has no name.
struct Chosen {
  std::string text;
  std::optional<std::string> text_pair, label;
};

bool is_test(Split split) { return split == Split::test || split == Split::test_mismatched; }

bool contains(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool is_id(std::string_view name) {
  const std::string lower = lower_ascii(name);
  return lower == "id" || lower == "idx" || lower == "index" || lower == "guid";
}

// `names`: all columns; `texts`: those that may hold a text. The rule stands at Columns.
Chosen choose_columns(const Columns& wanted, const std::vector<std::string>& names,
                      const std::vector<std::string>& texts, Split split, const TextFile& file, std::int64_t line) {
  const auto need = [&](const std::string& name, std::string_view flag) {
    if (!contains(names, name)) {
      file.fail_at(line, "found the columns ", listed(names), ", expected one named ", quote(name), " (", flag, ")");
    }
    return name;
  };
  Chosen chosen;
  const std::string label = wanted.label.empty() ? "label" : wanted.label;
  if (contains(names, label) || !wanted.label.empty() || !is_test(split)) chosen.label = need(label, "--label_column");
  if (!wanted.text.empty()) chosen.text = need(wanted.text, "--text_column");
  if (!wanted.text_pair.empty()) chosen.text_pair = need(wanted.text_pair, "--text_pair_column");
  if (!wanted.text.empty()) return chosen;

  std::vector<std::string> others;
  for (const std::string& name : texts) {
    if (name != label && name != wanted.text_pair && !is_id(name)) others.push_back(name);
  }
  const bool sentences = contains(others, "sentence1") && (contains(others, "sentence2") || chosen.text_pair);
  if (sentences) {
    chosen.text = "sentence1";
    if (!chosen.text_pair) chosen.text_pair = "sentence2";
    return chosen;
  }
  if (others.empty()) {
    file.fail_at(line, "found the columns ", listed(names), ", expected one with a text beside ", quote(label),
                 " (--text_column names it)");
  }
  chosen.text = others[0];
  if (!chosen.text_pair && others.size() > 1) chosen.text_pair = others[1];
  return chosen;
}

// What all formats have in common once a row is split into a text, perhaps a second one, and perhaps a label.
class Builder {
 public:
  Builder(Dataset& data, const TextFile& file, const Chosen& chosen)
      : data_(data), file_(file), labels_(file, chosen.label.value_or("")), has_labels_(chosen.label.has_value()) {}

  void add(std::string text, std::optional<std::string> pair, std::optional<LabelValue> label, std::int64_t line) {
    Example example;
    example.text_a = std::move(text);
    example.pair = pair.has_value();
    if (pair) example.text_b = std::move(*pair);
    if (label) example.label = labels_.add(std::move(*label), line);
    example.line = line;
    data_.examples.push_back(std::move(example));
  }

  void finish(const Dataset* like, Split split) {
    if (data_.examples.empty()) {
      fail(ErrorKind::bad_input, shown(file_.path()), ": found no rows of data, expected at least one");
    }
    if (has_labels_) {
      labels_.resolve(data_, like, split);
    } else if (like) {
      data_.labels = like->labels;
    }
    warn_of_blank_texts(data_, file_.path());
  }

 private:
  Dataset& data_;
  const TextFile& file_;
  LabelColumn labels_;
  bool has_labels_;
};

void load_delimited(const std::filesystem::path& path, Delimiter delimiter, const Columns& columns, Split split,
                    const Dataset* like, Dataset& data) {
  DelimitedReader reader(path, delimiter);
  std::vector<std::string> fields;
  if (!reader.next(fields)) fail(ErrorKind::bad_input, shown(path), ": found nothing, expected a row of column names");
  std::vector<std::string> names;
  for (const std::string& field : fields) {
    names.emplace_back(trimmed(field));
    if (std::count(names.begin(), names.end(), names.back()) > 1) {
      reader.fail_here("found the column ", quote(names.back()), " twice, expected different names");
    }
  }
  const Chosen chosen = choose_columns(columns, names, names, split, reader.file(), reader.line());
  const auto position = [&](const std::string& name) {
    return static_cast<std::size_t>(std::find(names.begin(), names.end(), name) - names.begin());
  };
  const std::size_t text_at = position(chosen.text);
  const std::size_t pair_at = chosen.text_pair ? position(*chosen.text_pair) : 0;
  const std::size_t label_at = chosen.label ? position(*chosen.label) : 0;

  reader.set_width(names.size());
  Builder builder(data, reader.file(), chosen);
  while (reader.next(fields)) {
    std::optional<LabelValue> label;
    if (chosen.label) label.emplace().text = fields[label_at];
    std::optional<std::string> pair;
    if (chosen.text_pair) pair = fields[pair_at];
    builder.add(std::move(fields[text_at]), std::move(pair), std::move(label), reader.line());
  }
  builder.finish(like, split);
}

using JsonObject = std::vector<std::pair<std::string, JsonValue>>;

JsonValue* find_key(JsonObject& object, const std::string& key) {
  const auto at = std::find_if(object.begin(), object.end(), [&](const auto& entry) { return entry.first == key; });
  return at == object.end() ? nullptr : &at->second;
}

void load_json_lines(const std::filesystem::path& path, const Columns& columns, Split split, const Dataset* like,
                     Dataset& data) {
  JsonLinesReader reader(path);
  JsonObject object;
  if (!reader.next(object)) fail(ErrorKind::bad_input, shown(path), ": found nothing, expected a JSON object a line");
  std::vector<std::string> names, texts;
  for (const auto& [name, value] : object) {
    names.push_back(name);
    if (value.type == JsonValue::Type::string) texts.push_back(name);
  }
  const Chosen chosen = choose_columns(columns, names, texts, split, reader.file(), reader.line());
  const auto need = [&](const std::string& key) -> JsonValue& {
    JsonValue* value = find_key(object, key);
    if (!value) reader.file().fail_at(reader.line(), "found no key ", quote(key), ", expected it in every object");
    return *value;
  };
  const auto take_text = [&](const std::string& key) -> std::string {
    JsonValue& value = need(key);
    if (value.type != JsonValue::Type::string) {
      reader.file().fail_at(reader.line(), "field ", quote(key), ": found ", type_name(value.type),
                            ", expected a string");
    }
    return std::move(value.text);
  };

  Builder builder(data, reader.file(), chosen);
  do {
    std::optional<LabelValue> label;
    if (chosen.label) {
      label = label_from_json(need(*chosen.label), [&](std::string_view found, std::string_view expected) {
        reader.file().fail_at(reader.line(), "field ", quote(*chosen.label), ": found ", found, ", expected ",
                              expected);
      });
    }
    std::string text = take_text(chosen.text);
    std::optional<std::string> pair;
    if (chosen.text_pair) pair = chosen.text_pair == chosen.text ? text : take_text(*chosen.text_pair);
    builder.add(std::move(text), std::move(pair), std::move(label), reader.line());
  } while (reader.next(object));
  builder.finish(like, split);
}

}  // namespace

Dataset load_file(const std::filesystem::path& file, const Columns& columns, Split split, const Dataset* like) {
  Dataset data;
  data.name = file.stem().string();
  const std::string extension = lower_ascii(file.extension().string());
  if (extension == ".csv") {
    load_delimited(file, Delimiter::comma, columns, split, like, data);
  } else if (extension == ".tsv") {
    load_delimited(file, Delimiter::tab, columns, split, like, data);
  } else if (extension == ".jsonl" || extension == ".json") {
    load_json_lines(file, columns, split, like, data);
  } else {
    fail(ErrorKind::bad_input, shown(file), ": found a file name that ends in ", quote(extension),
         ", expected .csv, .tsv, .jsonl or .json");
  }
  return data;
}

}  // namespace bertx
