#include "common/text_lines.h"

#include <algorithm>

#include "bertx/error.h"

namespace bertx::tools {
namespace {

TextView split(const std::string& line, Pairs pairs, const LineReader& reader, std::size_t number) {
  if (pairs == Pairs::none) return {line, std::nullopt};
  const auto tabs = std::ranges::count(line, '\t');
  if (tabs == 1) {
    const std::size_t tab = line.find('\t');
    const std::string_view whole(line);
    return {whole.substr(0, tab), whole.substr(tab + 1)};
  }
  if (tabs == 0 && pairs == Pairs::allowed) return {line, std::nullopt};
  fail(ErrorKind::bad_input, reader.name(), ": line ", number, ": found ", tabs + 1,
       " fields with tabs between; expected ",
       pairs == Pairs::required ? "two texts" : "a text, or two texts of a pair");
}

}  // namespace

bool TextLines::read(LineReader& reader, std::size_t most, Pairs pairs) {
  lines_.clear();
  views_.clear();
  std::string line;
  while (lines_.size() < most && (lines_.empty() || reader.ready()) && reader.next(line)) lines_.push_back(line);
  // Views only after the last line has its place.
  const std::size_t first = static_cast<std::size_t>(reader.line_number()) - lines_.size() + 1;
  for (std::size_t i = 0; i < lines_.size(); ++i) views_.push_back(split(lines_[i], pairs, reader, first + i));
  return !lines_.empty();
}

}  // namespace bertx::tools
