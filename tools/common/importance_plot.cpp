// Heat maps of the importance of heads, one below the other.
#include <algorithm>
#include <array>
#include <cmath>

#include "bertx/error.h"
#include "common/importance.h"
#include "common/svg.h"
#include "common/text.h"

namespace bertx::tools {
namespace {

constexpr double kLeft = 64, kTop = 58, kSquare = 34, kGap = 96;
constexpr double kLeastWidth = 680;  // of a set: what stands above the squares needs it
constexpr std::size_t kLongestColumn = 3;  // more sets than these stand in two columns

// From white to dark blue, which greys and eyes of all kinds keep in order.
std::string colour(double share) {
  constexpr std::array<double, 3> light{247, 251, 255}, dark{8, 48, 107};
  std::string out = "rgb(";
  for (std::size_t c = 0; c < 3; ++c) {
    out += (c == 0 ? "" : ",") + fixed(std::round(light[c] + share * (dark[c] - light[c])), 0);
  }
  return out + ")";
}

std::string square(double x, double y, double importance, double largest, const std::string& what) {
  const double share = largest > 0 ? importance / largest : 0;
  const std::string side = svg::number(kSquare);
  return "<rect x=\"" + svg::number(x) + "\" y=\"" + svg::number(y) + "\" width=\"" + side + "\" height=\"" + side +
         "\" fill=\"" + colour(share) + "\" stroke=\"#ffffff\"><title>" + svg::escaped(what) + "</title></rect>\n" +
         svg::label(x + kSquare / 2, y + kSquare / 2 + 4, "middle", fixed(importance, 2),
                    std::string(" font-size=\"11\" fill=\"") + (share > 0.55 ? "#ffffff" : "#222222") + "\"");
}

/// One set, its squares beginning at (left, top).
std::string heat_map(const ImportanceSet& set, double left, double top) {
  const std::vector<double> compared = compared_importance(set);
  const double largest = compared.empty() ? 0 : *std::ranges::max_element(compared);
  std::string out = svg::label(left, top - 32, "start", set.data + " (" + set.split + "): " + set.model,
                               " font-size=\"15\" font-weight=\"bold\"");
  out += svg::label(left, top - 14, "start",
                    bertx::text("importance of heads per ", set.per, ", ", set.texts,
                                " texts; rows are layers, each divided by its length"),
                    " fill=\"#555555\"");
  std::size_t at = 0, most = 0;
  for (std::size_t l = 0; l < set.heads.size(); ++l) {
    const double y = top + kSquare * static_cast<double>(l);
    out += svg::label(left - 8, y + kSquare / 2 + 4, "end", std::to_string(l));
    most = std::max(most, set.heads[l].size());
    for (std::size_t h = 0; h < set.heads[l].size(); ++h, ++at) {
      out += square(left + kSquare * static_cast<double>(h), y, compared[at], largest,
                    bertx::text("layer ", l, ", head ", h, ": ", set.heads[l][h]));
    }
  }
  const double bottom = top + kSquare * static_cast<double>(set.heads.size());
  for (std::size_t h = 0; h < most; ++h) {
    out += svg::label(left + kSquare * (static_cast<double>(h) + 0.5), bottom + 16, "middle", std::to_string(h));
  }
  return out;
}

}  // namespace

std::string importance_svg(const std::vector<ImportanceSet>& sets) {
  std::size_t heads = 0, layers = 0;
  for (const ImportanceSet& set : sets) {
    layers = std::max(layers, set.heads.size());
    for (const auto& layer : set.heads) heads = std::max(heads, layer.size());
  }
  const std::size_t columns = sets.size() > kLongestColumn ? 2 : 1, rows = (sets.size() + columns - 1) / columns;
  const double wide = std::max(2 * kLeft + kSquare * static_cast<double>(heads), kLeastWidth);
  const double tall = kSquare * static_cast<double>(layers) + kGap;
  std::string out = svg::head(wide * static_cast<double>(columns), kTop - kGap / 2 + tall * static_cast<double>(rows),
                              "Importance of heads");
  for (std::size_t i = 0; i < sets.size(); ++i) {
    out += heat_map(sets[i], kLeft + wide * static_cast<double>(i % columns),
                    kTop + tall * static_cast<double>(i / columns));
  }
  return out + "</svg>\n";
}

}  // namespace bertx::tools
