// Flags, third part: --help.
#include <algorithm>

#include "common/flags.h"

namespace bertx::tools {
namespace {

constexpr std::size_t kHelpColumn = 34, kHelpWidth = 110;
}  // namespace

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
  for (const auto& [title, entries] : sections_) {
    out += "\n" + title + ":\n";
    for (const auto& [left, text] : entries) out += help_entry(left, text);
  }
  if (!examples_.empty()) out += "\nExamples:\n";
  for (const auto& [line, comment] : examples_) out += "  # " + comment + "\n  " + line + "\n";
  return out;
}

}  // namespace bertx::tools
