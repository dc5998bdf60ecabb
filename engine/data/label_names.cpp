// How the label names of a file and those of a model find each other.
#include <algorithm>

#include "data/labels.h"

namespace bertx::data {

std::string lower_ascii(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

bool labels_say_nothing(const std::vector<std::string>& labels) {
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] != "LABEL_" + std::to_string(i)) return false;
  }
  return !labels.empty();
}

std::optional<std::int32_t> find_label(const std::vector<std::string>& labels, std::string_view name) {
  const auto exact = std::find(labels.begin(), labels.end(), name);
  if (exact != labels.end()) return static_cast<std::int32_t>(exact - labels.begin());
  const std::string wanted = lower_ascii(name);
  std::optional<std::int32_t> found;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (lower_ascii(labels[i]) != wanted) continue;
    if (found) return std::nullopt;
    found = static_cast<std::int32_t>(i);
  }
  if (!found && labels_say_nothing(labels)) {
    const auto number = parse_int(name);
    if (number && *number >= 0 && *number < static_cast<std::int64_t>(labels.size())) {
      found = static_cast<std::int32_t>(*number);
    }
  }
  return found;
}

std::string listed(const std::vector<std::string>& names) {
  constexpr std::size_t most = 8;
  std::string result;
  for (std::size_t i = 0; i < std::min(names.size(), most); ++i) result += (i > 0 ? ", " : "") + quote(names[i]);
  if (names.size() > most) result += text(" and ", names.size() - most, " more");
  return result;
}

}  // namespace bertx::data

namespace bertx {

using namespace data;

void relabel(Dataset& data, const std::vector<std::string>& model_labels) {
  if (data.kind == LabelKind::regression) {
    if (model_labels.size() > 1) {
      fail(ErrorKind::bad_input, data.name, ": the data has numbers as targets, but the model has ",
           model_labels.size(), " labels (", listed(model_labels), "); expected a model with one output");
    }
    return;
  }
  std::vector<std::int32_t> to;  // [labels of the data]
  if (labels_say_nothing(model_labels) && model_labels.size() == data.labels.size()) {
    if (data.labels != model_labels) {
      data.warnings.push_back(text("the model names its labels only ", listed(model_labels),
                                   "; taken in this order: ", listed(data.labels)));
    }
    return;
  }
  for (const std::string& name : data.labels) {
    const auto index = find_label(model_labels, name);
    if (!index) {
      fail(ErrorKind::bad_input, data.name, ": the data has the label ", quote(name),
           ", which the model lacks; expected one of id2label: ", listed(model_labels));
    }
    to.push_back(*index);
  }
  for (Example& example : data.examples) {
    if (example.label >= 0) example.label = to[static_cast<std::size_t>(example.label)];
    for (std::int32_t& c : example.classes) c = to[static_cast<std::size_t>(c)];
    std::sort(example.classes.begin(), example.classes.end());
  }
  data.labels = model_labels;
}

std::string_view label_kind_name(LabelKind kind) {
  switch (kind) {
    case LabelKind::none: return "none";
    case LabelKind::single_label: return "single_label";
    case LabelKind::regression: return "regression";
    case LabelKind::multi_label: return "multi_label";
  }
  return "none";
}

std::string_view split_name(Split split) {
  switch (split) {
    case Split::train: return "train";
    case Split::validation: return "validation";
    case Split::validation_mismatched: return "validation_mismatched";
    case Split::test: return "test";
    case Split::test_mismatched: return "test_mismatched";
  }
  return "train";
}

}  // namespace bertx
