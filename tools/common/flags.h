// The flags of a command: declared once with a name, a target and a range; set from the command line or from a JSON
// file that holds the whole configuration.
//
//   Flags flags("train", "fine-tune a model");
//   flags.group("Training").number("learning_rate", &rate, Range::above(0, 1), "peak of the schedule");
//   if (!flags.parse(arguments)) return 0;   // --help was printed
//
// Names have underscores; hyphens are accepted. Numbers are read the same in every locale. Everything that makes no
// sense throws Error(usage), or Error(bad_input) where it stands in a file.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bertx::tools {

/// What a number may be.
struct Range {
  double least, most;
  bool open_least = false, open_most = false;

  static Range above(double least, double most) { return {least, most, true, false}; }
  static Range between(double least, double most) { return {least, most, false, false}; }
  static Range below(double least, double most) { return {least, most, false, true}; }  ///< least <= x < most
  bool holds(double value) const;
  std::string text() const;  ///< "a number above 0 and at most 1"
};

class Flags {
 public:
  Flags(std::string command, std::string summary);

  /// The flags that follow stand under this heading in --help.
  Flags& group(std::string title);
  Flags& text(std::string name, std::string* target, std::string argument, std::string help);
  Flags& toggle(std::string name, bool* target, std::string help);
  Flags& integer(std::string name, std::int64_t* target, std::int64_t least, std::int64_t most, std::string help);
  Flags& number(std::string name, double* target, Range range, std::string help);
  /// Without a default: what happens where it is not given stands in the help.
  Flags& optional_number(std::string name, std::optional<double>* target, Range range, std::string help);
  Flags& optional_integer(std::string name, std::optional<std::int64_t>* target, std::int64_t least, std::int64_t most,
                          std::string help);
  Flags& choice(std::string name, std::string* target, std::vector<std::string> choices, std::string help);
  /// Lists have commas between their items.
  Flags& integers(std::string name, std::vector<std::int64_t>* target, std::int64_t least, std::int64_t most,
                  std::string help);
  Flags& numbers(std::string name, std::vector<double>* target, Range range, std::string help);
  /// Another name for the flag that was declared last.
  Flags& alias(std::string name);

  /// One argument without a flag, e.g. the model of `bertx inspect`.
  Flags& positional(std::string name, std::string* target, std::string help);
  /// A first argument that ends in ".json" is a configuration file; flags override it.
  Flags& accepts_config();
  /// A heading in --help after the flags, with what stands below it.
  Flags& section(std::string title, std::vector<std::pair<std::string, std::string>> entries);
  Flags& example(std::string command_line, std::string comment);

  /// False: --help was asked for and printed.
  bool parse(const std::vector<std::string>& arguments);
  /// The flag was set, by either way.
  bool given(std::string_view name) const;
  /// All that were set, with what they were set to.
  std::map<std::string, std::string> given() const;
  /// As a file states it; `where` names file and key in messages. Throws Error(bad_input) for an unknown key.
  void set(const std::string& key, const std::string& value, const std::string& where);
  /// Sets what was set in `other`, where this command has such a flag.
  void take(const Flags& other);
  std::string help() const;

 private:
  struct Flag {
    std::string name, argument, help, shown_default, group;
    bool is_toggle = false;
    /// `where` names the flag or the file and key in messages.
    std::function<void(const std::string& value, const std::string& where)> set;
    std::vector<std::string> aliases;
    std::optional<std::string> given = {};  ///< what it was set to
  };

  Flags& add(Flag flag);
  Flag* find(std::string_view name);
  Flag& find_or_fail(const std::string& name, const std::string& shown);
  Flag& find_key_or_fail(const std::string& key, const std::string& where);
  void assign(Flag& flag, const std::string& value, const std::string& where);
  std::vector<std::string_view> names() const;
  std::vector<std::string> canonical(const std::vector<std::string>& arguments);
  void read_config(const std::string& path);

  std::string command_, summary_, group_ = "General";
  std::vector<Flag> flags_;
  std::vector<std::pair<std::string, std::string>> examples_;
  std::vector<std::pair<std::string, std::vector<std::pair<std::string, std::string>>>> sections_;
  std::string positional_name_, positional_help_;
  std::string* positional_ = nullptr;
  bool config_ = false;
};

/// "  left   what it is", wrapped, the text in a column of its own.
std::string help_entry(const std::string& left, const std::string& text);

}  // namespace bertx::tools
