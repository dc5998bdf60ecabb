#include "data/labels.h"

#include <algorithm>
#include <set>

namespace bertx::data {
namespace {

using Form = LabelValue::Form;

// Written with a decimal point or exponent, so a measurement rather than the number of a class.
bool is_fraction(std::string_view text) { return parse_double(text) && text.find_first_of(".eE") != text.npos; }

bool may_be_number(const LabelValue& value) { return value.form == Form::plain || value.form == Form::number; }

// Distinct values have distinct keys: lengths are part of them.
std::string key_of(const LabelValue& value) {
  std::string key = text(static_cast<int>(value.form), ' ', value.length, ' ', value.text.size(), ' ', value.text);
  for (const std::string& name : value.list) key += text(' ', name.size(), ' ', name);
  for (const std::int32_t one : value.ones) key += text(' ', one);
  return key;
}

std::vector<std::string> split_bars(std::string_view text) {
  std::vector<std::string> names;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find('|', at), text.size());
    const std::string_view name = trimmed(text.substr(at, end - at));
    if (!name.empty()) names.emplace_back(name);
    at = end + 1;
  }
  return names;
}

// Numbers by value, before names by their bytes, as Python sorts a column of either.
bool label_order(const std::string& a, const std::string& b) {
  const auto x = parse_int(a), y = parse_int(b);
  if (x && y && *x != *y) return *x < *y;
  if (x.has_value() != y.has_value()) return x.has_value();
  return a < b;
}

}  // namespace

std::int32_t LabelColumn::add(LabelValue value, std::int64_t line) {
  value.text = trimmed(value.text);
  for (std::string& name : value.list) {
    name = trimmed(name);
    if (name.empty()) fail_at(line, "found an empty name in an array, expected names");
  }
  if (may_be_number(value) || value.form == Form::name) {
    const std::string lower = lower_ascii(value.text);
    if (lower == "nan" || lower == "-nan") fail_at(line, "found ", quote(value.text), ", expected a label");
  }
  const auto [entry, is_new] = index_.try_emplace(key_of(value), static_cast<std::int32_t>(seen_.size()));
  if (is_new) seen_.push_back({std::move(value), line});
  return entry->second;
}

// Throws where arrays and single values, or names and bits, stand in one column.
void LabelColumn::check_single_form() const {
  const auto group = [](Form form) { return form == Form::names || form == Form::bits ? form : Form::name; };
  const auto say = [](Form form) {
    return form == Form::names ? "an array of names" : form == Form::bits ? "an array of 0 and 1" : "a single value";
  };
  const Seen& first = seen_.front();
  for (const Seen& seen : seen_) {
    if (group(seen.value.form) != group(first.value.form)) {
      fail_at(seen.line, "found ", say(group(seen.value.form)), ", expected ", say(group(first.value.form)),
              " as in line ", first.line);
    }
    if (seen.value.length != first.value.length) {
      fail_at(seen.line, "found ", seen.value.length, " values in the array, expected ", first.value.length,
              " as in line ", first.line);
    }
  }
}

LabelKind LabelColumn::kind_of_all() const {
  const Seen *fraction = nullptr, *name = nullptr;
  for (const Seen& seen : seen_) {
    const LabelValue& value = seen.value;
    if (value.form == Form::names || value.form == Form::bits) return LabelKind::multi_label;
    if (value.form == Form::plain && value.text.find('|') != value.text.npos) return LabelKind::multi_label;
    if (may_be_number(value) && is_fraction(value.text) && !fraction) fraction = &seen;
    if ((!may_be_number(value) || !parse_double(value.text)) && !name) name = &seen;
  }
  if (!fraction) return LabelKind::single_label;
  if (name) {  // one slip must not turn a column of measurements into thousands of classes
    fail_at(name->line, "found ", quote(name->value.text), ", expected a finite number like ",
            quote(fraction->value.text), " in line ", fraction->line);
  }
  return LabelKind::regression;
}

std::vector<std::string> LabelColumn::names_of(const LabelValue& value) const {
  if (value.form == Form::names) return value.list;
  if (value.form == Form::plain) return split_bars(value.text);
  return {value.text};
}

std::vector<std::string> LabelColumn::sorted_names(LabelKind kind) const {
  std::vector<std::string> names;
  if (kind == LabelKind::regression) return names;
  if (seen_.front().value.form == Form::bits) {
    for (std::int32_t i = 0; i < seen_.front().value.length; ++i) names.push_back(std::to_string(i));
    return names;
  }
  std::set<std::string> distinct;
  for (const Seen& seen : seen_) {
    if (kind == LabelKind::single_label) {
      distinct.insert(seen.value.text);
    } else {
      for (std::string& name : names_of(seen.value)) distinct.insert(std::move(name));
    }
  }
  names.assign(distinct.begin(), distinct.end());
  std::sort(names.begin(), names.end(), label_order);
  return names;
}

float LabelColumn::number_of(const Seen& seen) const {
  const auto value = may_be_number(seen.value) ? parse_double(seen.value.text) : std::nullopt;
  const auto single = static_cast<float>(value.value_or(0));
  if (!value || single - single != 0)
    fail_at(seen.line, "found ", quote(seen.value.text), ", expected a finite number");
  return single;
}

std::int32_t LabelColumn::index_of(const std::string& name, const LabelIndex& labels, std::int64_t line) const {
  if (const auto exact = labels.index.find(name); exact != labels.index.end()) return exact->second;
  const auto index = find_label(labels.names, name);
  if (!index) fail_at(line, "found ", quote(name), ", expected one of ", listed(labels.names));
  return *index;
}

std::vector<std::int32_t> LabelColumn::classes_of(const Seen& seen, const LabelIndex& labels) const {
  if (seen.value.form == Form::bits) {
    if (seen.value.length != static_cast<std::int32_t>(labels.names.size())) {
      fail_at(seen.line, "found ", seen.value.length, " values in the array, expected one for each of ",
              listed(labels.names));
    }
    return seen.value.ones;
  }
  std::vector<std::int32_t> classes;
  for (const std::string& name : names_of(seen.value)) classes.push_back(index_of(name, labels, seen.line));
  std::sort(classes.begin(), classes.end());
  classes.erase(std::unique(classes.begin(), classes.end()), classes.end());
  return classes;
}

void LabelColumn::resolve(Dataset& data, const Dataset* like, Split split) const {
  const bool empty = std::all_of(seen_.begin(), seen_.end(),
                                 [](const Seen& seen) { return may_be_number(seen.value) && seen.value.text.empty(); });
  if (empty && (split == Split::test || split == Split::test_mismatched)) {
    for (Example& example : data.examples) example.label = -100;
    data.kind = LabelKind::none;
    if (like) data.labels = like->labels;
    return;
  }
  check_single_form();
  data.kind = like && like->kind != LabelKind::none ? like->kind : kind_of_all();
  if (data.kind != LabelKind::multi_label) {
    for (const Seen& seen : seen_) {
      const Form form = seen.value.form;
      if (form == Form::names || form == Form::bits) fail_at(seen.line, "found an array, expected a single value");
      if (seen.value.text.empty()) fail_at(seen.line, "found nothing, expected a label");
    }
  }
  data.labels = like && like->kind != LabelKind::none ? like->labels : sorted_names(data.kind);
  if (data.kind == LabelKind::multi_label && data.labels.empty()) {
    fail_at(seen_.front().line, "found no label in any row, expected some");
  }

  LabelIndex index{data.labels, {}};
  for (std::size_t i = 0; i < data.labels.size(); ++i) {
    index.index.try_emplace(data.labels[i], static_cast<std::int32_t>(i));
  }
  std::vector<std::int32_t> labels(seen_.size(), -100);
  std::vector<float> targets(seen_.size(), 0);
  std::vector<std::vector<std::int32_t>> classes(seen_.size());
  for (std::size_t i = 0; i < seen_.size(); ++i) {
    switch (data.kind) {
      case LabelKind::none: break;
      case LabelKind::single_label: labels[i] = index_of(seen_[i].value.text, index, seen_[i].line); break;
      case LabelKind::regression: targets[i] = number_of(seen_[i]); break;
      case LabelKind::multi_label: classes[i] = classes_of(seen_[i], index); break;
    }
  }
  std::set<std::int32_t> present;
  for (Example& example : data.examples) {
    const auto value = static_cast<std::size_t>(example.label);
    example.label = labels[value];
    example.target = targets[value];
    example.classes = classes[value];
    present.insert(example.label);
  }
  if (data.kind == LabelKind::single_label && data.labels.size() > 100 &&
      data.labels.size() > data.examples.size() / 2) {
    data.warnings.push_back(text(shown(file_.path()), ": ", data.labels.size(), " different labels in ",
                                 data.examples.size(), " rows; is ", quote(name_), " the column of the labels?"));
  }
  if (data.kind == LabelKind::single_label && present.size() == 1) {
    const std::string& only = data.labels[static_cast<std::size_t>(*present.begin())];
    if (split == Split::train && data.labels.size() == 1) {
      fail_at(seen_.front().line, "found ", quote(only), " in all ", data.examples.size(),
              " rows, expected at least two labels to tell apart");
    }
    data.warnings.push_back(text(shown(file_.path()), ": every example has the label ", quote(only),
                                 "; some metrics are not defined then"));
  }
}

}  // namespace bertx::data
