#include "common/table.h"

#include <algorithm>

namespace bertx::tools {
namespace {

/// Code points, so that "…" and "×" count once.
std::size_t width_of(const std::string& text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

}  // namespace

std::string Table::text() const {
  std::vector<std::size_t> width(rows_.front().size());
  for (const auto& row : rows_) {
    for (std::size_t c = 0; c < row.size(); ++c) width[c] = std::max(width[c], width_of(row[c]));
  }
  std::string out;
  for (std::size_t r = 0; r < rows_.size(); ++r) {
    for (std::size_t c = 0; c < rows_[r].size(); ++c) {
      const std::string& cell = rows_[r][c];
      const std::string gap(width[c] - width_of(cell), ' ');
      // The first column names the row; the others are figures.
      out += c == 0 ? cell + gap : "  " + gap + cell;
    }
    while (out.back() == ' ') out.pop_back();
    out += '\n';
    if (r > 0) continue;
    for (std::size_t c = 0; c < width.size(); ++c) out += (c == 0 ? "" : "  ") + std::string(width[c], '-');
    out += '\n';
  }
  return out;
}

}  // namespace bertx::tools
