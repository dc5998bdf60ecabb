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

}  // namespace

std::string importance_svg(const std::vector<ImportanceSet>& sets) {
  std::size_t most = 0;
  double height = kTop - kGap / 2;
  for (const ImportanceSet& set : sets) {
    for (const auto& layer : set.heads) most = std::max(most, layer.size());
    height += kSquare * static_cast<double>(set.heads.size()) + kGap;
  }
  const double width = std::max(2 * kLeft + kSquare * static_cast<double>(most), 460.0);
  std::string out = svg::head(width, height, "Importance of heads");
  double top = kTop;
  for (const ImportanceSet& set : sets) {
    const std::vector<double> compared = compared_importance(set);
    const double largest = compared.empty() ? 0 : *std::ranges::max_element(compared);
    out += svg::label(kLeft, top - 32, "start", set.data + " (" + set.split + "): " + set.model,
                      " font-size=\"15\" font-weight=\"bold\"");
    out += svg::label(kLeft, top - 14, "start",
                      bertx::text("importance of heads per ", set.per, ", ", set.texts,
                                  " texts; rows are layers, each divided by its length"),
                      " fill=\"#555555\"");
    std::size_t at = 0;
    for (std::size_t l = 0; l < set.heads.size(); ++l) {
      const double y = top + kSquare * static_cast<double>(l);
      out += svg::label(kLeft - 8, y + kSquare / 2 + 4, "end", std::to_string(l));
      for (std::size_t h = 0; h < set.heads[l].size(); ++h, ++at) {
        out += square(kLeft + kSquare * static_cast<double>(h), y, compared[at], largest,
                      bertx::text("layer ", l, ", head ", h, ": ", set.heads[l][h]));
      }
    }
    const double bottom = top + kSquare * static_cast<double>(set.heads.size());
    for (std::size_t h = 0; h < most; ++h) {
      out += svg::label(kLeft + kSquare * (static_cast<double>(h) + 0.5), bottom + 16, "middle", std::to_string(h));
    }
    top = bottom + kGap;
  }
  return out + "</svg>\n";
}

}  // namespace bertx::tools
