#include "common/flags.h"

#include <algorithm>
#include <cctype>
#include <cxxopts.hpp>

#include "bertx/error.h"
#include "bertx/files.h"
#include "common/output.h"
#include "common/text.h"
#include "io/json.h"

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

bool is_bool_word(const std::string& value) {
  return value == "true" || value == "false" || value == "True" || value == "False";
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

std::string underscored(std::string name) {
  std::ranges::replace(name, '-', '_');
  return name;
}

/// A value of a configuration file as it would stand on the command line.
std::string config_value(const nlohmann::json& value, const std::string& where) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number() || value.is_boolean()) return value.dump();
  std::string list;
  if (value.is_array() && !value.empty()) {
    for (const auto& item : value) {
      if (item.is_structured() || item.is_null()) list.clear();
      list += (list.empty() ? "" : ",") + (item.is_string() ? item.get<std::string>() : item.dump());
    }
    return list;
  }
  fail(ErrorKind::bad_input, where, ": found ", json_found(value), "; expected a text, a number, true or false");
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

// --- declaring ------------------------------------------------------------------------------------------------

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

Flags& Flags::choice(std::string name, std::string* target, std::vector<std::string> choices, std::string help) {
  std::string shown;
  for (const std::string& choice : choices) shown += (shown.empty() ? "" : "|") + choice;
  return add({std::move(name),
              shown,
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

Flags& Flags::example(std::string command_line, std::string comment) {
  examples_.emplace_back(std::move(command_line), std::move(comment));
  return *this;
}

// --- looking up -----------------------------------------------------------------------------------------------

Flags::Flag* Flags::find(std::string_view name) {
  const auto found = std::ranges::find_if(flags_, [&](const Flag& flag) {
    return flag.name == name || std::ranges::find(flag.aliases, name) != flag.aliases.end();
  });
  return found == flags_.end() ? nullptr : &*found;
}

std::vector<std::string_view> Flags::names() const {
  std::vector<std::string_view> names{"help"};
  for (const Flag& flag : flags_) {
    names.push_back(flag.name);
    names.insert(names.end(), flag.aliases.begin(), flag.aliases.end());
  }
  return names;
}

Flags::Flag& Flags::find_or_fail(const std::string& name, const std::string& shown) {
  if (Flag* flag = find(name)) return *flag;
  std::string near = did_you_mean(name, names());
  if (const auto quote = near.find('\''); quote != std::string::npos) near.insert(quote + 1, "--");
  fail(ErrorKind::usage, "there is no flag '", printable(shown), "'", near, "; `bertx ", command_,
       " --help` lists them all");
}

bool Flags::given(std::string_view name) const {
  return std::ranges::any_of(flags_, [&](const Flag& flag) { return flag.name == name && flag.given; });
}

// --- parsing --------------------------------------------------------------------------------------------------

/// Underscores for hyphens, full names for aliases, "--flag=true" for "--flag true"; unknown flags end here.
std::vector<std::string> Flags::canonical(const std::vector<std::string>& arguments) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "-h" || argument == "--help") {
      out.emplace_back("--help");
      continue;
    }
    if (argument.size() < 2 || argument[0] != '-') {
      out.push_back(argument);
      continue;
    }
    const std::size_t equals = argument.find('=');
    const std::string typed = argument.substr(0, equals);
    const bool two = typed.starts_with("--");
    const Flag& flag = find_or_fail(underscored(typed.substr(two ? 2 : 1)), two ? typed : typed + " (with one hyphen)");
    if (!two) fail(ErrorKind::usage, "found '", printable(typed), "'; expected '--", flag.name, "'");
    std::string value = equals == std::string::npos ? "" : argument.substr(equals + 1);
    if (equals == std::string::npos) {
      const bool next = i + 1 < arguments.size();
      if (flag.is_toggle) {
        value = next && is_bool_word(arguments[i + 1]) ? arguments[++i] : "true";
      } else if (next && !arguments[i + 1].starts_with("--")) {
        value = arguments[++i];
      } else {
        fail(ErrorKind::usage, "--", flag.name, ": a value is missing; expected ", flag.argument);
      }
    }
    out.push_back("--" + flag.name + "=" + value);
  }
  return out;
}

bool Flags::parse(const std::vector<std::string>& arguments) {
  cxxopts::Options options("bertx");
  options.add_options()("help", "");
  for (const Flag& flag : flags_) options.add_options()(flag.name, "", cxxopts::value<std::string>());

  const std::vector<std::string> tidy = canonical(arguments);
  std::vector<const char*> argv{"bertx"};
  for (const std::string& argument : tidy) argv.push_back(argument.c_str());
  std::vector<std::pair<std::string, std::string>> set;
  std::vector<std::string> bare;
  try {
    const auto result = options.parse(static_cast<int>(argv.size()), argv.data());
    if (result.count("help") > 0) {
      Output out;
      out.write(help());
      out.flush();
      return false;
    }
    for (const auto& item : result.arguments()) set.emplace_back(item.key(), item.value());
    bare = result.unmatched();
  } catch (const cxxopts::exceptions::exception& error) {
    fail(ErrorKind::usage, error.what());
  }

  std::size_t taken = 0;
  if (config_ && !bare.empty() && bare[0].ends_with(".json")) read_config(bare[taken++]);
  if (positional_ != nullptr && taken < bare.size()) *positional_ = bare[taken++];
  if (taken < bare.size()) {
    fail(ErrorKind::usage, "found '", printable(bare[taken]), "' without a flag before it; expected --flag value",
         config_ ? ", or one configuration file that ends in .json" : "");
  }
  for (const auto& [name, value] : set) {
    Flag& flag = *find(name);
    flag.set(value, "--" + name);
    flag.given = true;
  }
  return true;
}

void Flags::read_config(const std::string& path) {
  const nlohmann::json config = parse_json_file(path, 1u << 20);
  if (!config.is_object()) {
    fail(ErrorKind::bad_input, path, ": found ", json_found(config), "; expected an object of flags and values");
  }
  for (const auto& [key, value] : config.items()) {
    const std::string where = path + ": " + printable(key);
    Flag* flag = find(underscored(key));
    if (flag == nullptr) {
      fail(ErrorKind::bad_input, where, ": found a key that is no flag of bertx ", command_,
           did_you_mean(underscored(key), names()));
    }
    if (value.is_null()) continue;
    flag->set(config_value(value, where), where);
    flag->given = true;
  }
}

// --- help -----------------------------------------------------------------------------------------------------

namespace {

constexpr std::size_t kHelpColumn = 34, kHelpWidth = 110;

/// "  --flag ARGUMENT   what it is", wrapped, the text in a column of its own.
std::string help_entry(const std::string& left, const std::string& text) {
  std::string out = "  " + left;
  std::size_t column = out.size();
  const auto next_column = [&] {
    if (column + 2 > kHelpColumn) {
      out += '\n';
      column = 0;
    }
    out.append(kHelpColumn - column, ' ');
    column = kHelpColumn;
  };
  next_column();
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    if (column + (end - begin) > kHelpWidth) {
      column = kHelpWidth;
      next_column();
    } else if (column > kHelpColumn) {
      out += ' ';
      ++column;
    }
    out.append(text, begin, end - begin);
    column += end - begin;
    begin = end + 1;
  }
  return out + "\n";
}

}  // namespace

std::string Flags::help() const {
  std::string out = "bertx " + command_ + " - " + summary_ + "\n\nUsage:\n  bertx " + command_;
  out += config_ ? " [config.json]" : "";
  out += positional_ != nullptr ? " " + positional_name_ + " [flags]\n" : " [flags]\n";
  if (positional_ != nullptr) out += "\n" + help_entry(positional_name_, positional_help_);
  std::string_view group;
  for (const Flag& flag : flags_) {
    if (flag.group != group) out += "\n" + flag.group + ":\n";
    group = flag.group;
    out += help_entry("--" + flag.name + (flag.argument.empty() ? "" : " " + flag.argument),
                      flag.help + (flag.shown_default.empty() ? "" : " (" + flag.shown_default + ")"));
  }
  if (config_) {
    out += "\nA JSON file given first holds any of these flags as keys; flags on the command line override it.\n";
  }
  if (!examples_.empty()) out += "\nExamples:\n";
  for (const auto& [line, comment] : examples_) out += "  # " + comment + "\n  " + line + "\n";
  return out;
}

}  // namespace bertx::tools
