// Flags, first part: declaring them, and what their values may be.
#include <algorithm>
#include <cctype>

#include "bertx/error.h"
#include "bertx/files.h"
#include "common/flags.h"
#include "common/text.h"

namespace bertx::tools {
namespace {

[[noreturn]] void wrong(const std::string& where, const std::string& value, const std::string& expected) {
  // A key of a file is named "file.json: key", a flag "--flag".
  const ErrorKind kind = where.starts_with("--") ? ErrorKind::usage : ErrorKind::bad_input;
  fail(kind, where, ": found '", printable(value), "'; expected ", expected);
}

double checked_number(const std::string& value, const std::string& where, const Range& range) {
  const auto parsed = parse_double(value);
  if (!parsed || !range.holds(*parsed)) wrong(where, value, range.text());
  return *parsed;
}

std::int64_t checked_integer(const std::string& value, const std::string& where, std::int64_t least,
                             std::int64_t most) {
  const auto parsed = parse_int(value);
  if (parsed && *parsed >= least && *parsed <= most) return *parsed;
  const bool bounded = most != std::numeric_limits<std::int64_t>::max();
  wrong(where, value, bertx::text("a whole number from ", least, bounded ? " to " + std::to_string(most) : " up"));
}

bool checked_bool(const std::string& value, const std::string& where) {
  std::string lower = value;
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (lower == "true" || lower == "1" || lower == "yes") return true;
  if (lower == "false" || lower == "0" || lower == "no") return false;
  wrong(where, value, "true or false");
}

template <class T, class Parse>
std::vector<T> checked_list(const std::string& value, const Parse& parse_item) {
  std::vector<T> items;
  for (std::size_t begin = 0; begin <= value.size();) {
    const std::size_t end = std::min(value.find(',', begin), value.size());
    items.push_back(parse_item(value.substr(begin, end - begin)));
    begin = end + 1;
  }
  return items;
}

template <class T>
std::string list_text(const std::vector<T>& items) {
  std::string out;
  for (const T& item : items) out += (out.empty() ? "" : ",") + number_text(static_cast<double>(item));
  return out;
}

}  // namespace

bool Range::holds(double value) const {
  return (open_least ? value > least : value >= least) && (open_most ? value < most : value <= most);
}

std::string Range::text() const {
  std::string out = open_least ? "a number above " : "a number from ";
  out += number_text(least);
  if (most == std::numeric_limits<double>::infinity()) return out + (open_least ? "" : " up");
  return out + (open_most ? " and below " : open_least ? " and at most " : " to ") + number_text(most);
}

Flags::Flags(std::string command, std::string summary) : command_(std::move(command)), summary_(std::move(summary)) {}

Flags& Flags::group(std::string title) {
  group_ = std::move(title);
  return *this;
}

Flags& Flags::add(Flag flag) {
  flag.group = group_;
  flags_.push_back(std::move(flag));
  return *this;
}

Flags& Flags::text(std::string name, std::string* target, std::string argument, std::string help) {
  return add({std::move(name),
              std::move(argument),
              std::move(help),
              *target,
              {},
              false,
              [target](const std::string& value, const std::string& where) {
                if (value.find('\0') != std::string::npos) wrong(where, value, "a text without NUL bytes");
                *target = value;
              },
              {}});
}

Flags& Flags::toggle(std::string name, bool* target, std::string help) {
  return add({std::move(name),
              "",
              std::move(help),
              *target ? "true" : "",
              {},
              true,
              [target](const std::string& value, const std::string& where) { *target = checked_bool(value, where); },
              {}});
}

Flags& Flags::integer(std::string name, std::int64_t* target, std::int64_t least, std::int64_t most, std::string help) {
  return add({std::move(name),
              "N",
              std::move(help),
              std::to_string(*target),
              {},
              false,
              [=](const std::string& value, const std::string& where) {
                *target = checked_integer(value, where, least, most);
              },
              {}});
}

Flags& Flags::number(std::string name, double* target, Range range, std::string help) {
  return add(
      {std::move(name),
       "X",
       std::move(help),
       number_text(*target),
       {},
       false,
       [=](const std::string& value, const std::string& where) { *target = checked_number(value, where, range); },
       {}});
}

Flags& Flags::optional_number(std::string name, std::optional<double>* target, Range range, std::string help) {
  return add(
      {std::move(name),
       "X",
       std::move(help),
       "",
       {},
       false,
       [=](const std::string& value, const std::string& where) { *target = checked_number(value, where, range); },
       {}});
}

Flags& Flags::optional_integer(std::string name, std::optional<std::int64_t>* target, std::int64_t least,
                               std::int64_t most, std::string help) {
  return add({std::move(name),
              "N",
              std::move(help),
              "",
              {},
              false,
              [=](const std::string& value, const std::string& where) {
                *target = checked_integer(value, where, least, most);
              },
              {}});
}

Flags& Flags::choice(std::string name, std::string* target, std::vector<std::string> choices, std::string help) {
  std::string shown;
  for (const std::string& choice : choices) shown += (shown.empty() ? "" : "|") + choice;
  // A long list would hide what the flag is for: the help says where it stands.
  return add({std::move(name),
              choices.size() > 6 ? "NAME" : shown,
              std::move(help),
              *target,
              {},
              false,
              [=, choices = std::move(choices)](const std::string& value, const std::string& where) {
                if (std::ranges::find(choices, value) == choices.end()) {
                  const std::vector<std::string_view> names(choices.begin(), choices.end());
                  wrong(where, value, shown + did_you_mean(value, names));
                }
                *target = value;
              },
              {}});
}

Flags& Flags::integers(std::string name, std::vector<std::int64_t>* target, std::int64_t least, std::int64_t most,
                       std::string help) {
  return add({std::move(name),
              "N,…",
              std::move(help),
              list_text(*target),
              {},
              false,
              [=](const std::string& value, const std::string& where) {
                *target = checked_list<std::int64_t>(
                    value, [&](const std::string& item) { return checked_integer(item, where, least, most); });
              },
              {}});
}

Flags& Flags::numbers(std::string name, std::vector<double>* target, Range range, std::string help) {
  return add({std::move(name),
              "X,…",
              std::move(help),
              list_text(*target),
              {},
              false,
              [=](const std::string& value, const std::string& where) {
                *target = checked_list<double>(
                    value, [&](const std::string& item) { return checked_number(item, where, range); });
              },
              {}});
}

Flags& Flags::alias(std::string name) {
  flags_.back().aliases.push_back(std::move(name));
  return *this;
}

Flags& Flags::positional(std::string name, std::string* target, std::string help) {
  positional_name_ = std::move(name);
  positional_help_ = std::move(help);
  positional_ = target;
  return *this;
}

Flags& Flags::accepts_config() {
  config_ = true;
  return *this;
}

Flags& Flags::section(std::string title, std::vector<std::pair<std::string, std::string>> entries) {
  sections_.emplace_back(std::move(title), std::move(entries));
  return *this;
}

Flags& Flags::example(std::string command_line, std::string comment) {
  examples_.emplace_back(std::move(command_line), std::move(comment));
  return *this;
}

}  // namespace bertx::tools
