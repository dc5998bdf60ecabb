// A drawing of lines: SVG without scripts, dark on light, that any browser shows.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace bertx::tools {

struct Plot {
  struct Line {
    std::string name;
    std::vector<std::pair<double, double>> points;  ///< in the order in which they are joined
  };
  std::string title, subtitle, x_label, y_label;
  std::vector<Line> lines;
};

/// The y axis begins at 0 or, where the largest value is more than 25 times the smallest, is logarithmic.
std::string svg_of(const Plot& plot);

}  // namespace bertx::tools
