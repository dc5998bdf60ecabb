// Flags, second part: from arguments and configuration files to values.
#include "common/flags.h"

#include <algorithm>
#include <cxxopts.hpp>

#include "bertx/error.h"
#include "common/output.h"
#include "common/text.h"
#include "io/json.h"

namespace bertx::tools {
namespace {

bool is_bool_word(const std::string& value) {
  return value == "true" || value == "false" || value == "True" || value == "False";
}

std::string underscored(std::string name) {
  std::ranges::replace(name, '-', '_');
  return name;
}

}  // namespace

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
  return std::ranges::any_of(flags_, [&](const Flag& flag) { return flag.name == name && flag.given.has_value(); });
}

std::map<std::string, std::string> Flags::given() const {
  std::map<std::string, std::string> found;
  for (const Flag& flag : flags_) {
    if (flag.given) found.emplace(flag.name, *flag.given);
  }
  return found;
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
    assign(*find(name), value, "--" + name);
  }
  return true;
}

void Flags::assign(Flag& flag, const std::string& value, const std::string& where) {
  flag.set(value, where);
  flag.given = value;
}

Flags::Flag& Flags::find_key_or_fail(const std::string& key, const std::string& where) {
  if (Flag* flag = find(underscored(key))) return *flag;
  fail(ErrorKind::bad_input, where, ": found a key that is no flag of bertx ", command_,
       did_you_mean(underscored(key), names()));
}

void Flags::set(const std::string& key, const std::string& value, const std::string& where) {
  assign(find_key_or_fail(key, where), value, where);
}

void Flags::take(const Flags& other) {
  for (const Flag& theirs : other.flags_) {
    Flag* mine = theirs.given ? find(theirs.name) : nullptr;
    if (mine) assign(*mine, *theirs.given, "--" + theirs.name);
  }
}

void Flags::read_config(const std::string& path) {
  const nlohmann::json config = parse_json_file(path, 1u << 20);
  if (!config.is_object()) {
    fail(ErrorKind::bad_input, path, ": found ", json_found(config), "; expected an object of flags and values");
  }
  for (const auto& [key, value] : config.items()) {
    const std::string where = path + ": " + printable(key);
    if (value.is_null()) {
      find_key_or_fail(key, where);
    } else {
      set(key, json_setting_text(value, where), where);
    }
  }
}

}  // namespace bertx::tools
