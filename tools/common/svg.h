// Parts of a drawing: SVG without scripts, dark on light, that any browser shows.
#pragma once

#include <array>
#include <string>
#include <vector>

namespace bertx::tools::svg {

/// Told apart by people who see colours differently, too (Okabe & Ito).
inline constexpr std::array<const char*, 6> kColours{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#a6761d", "#333333"};

/// One axis: from values to places, and where its ticks are.
struct Axis {
  double least = 0, most = 1;
  bool logarithmic = false;
  std::vector<double> ticks;

  double share(double value) const;  ///< 0 at the least value, 1 at the most
};
/// From a round number at or below `least` to one at or above `most`, four to eight ticks.
Axis linear_axis(double least, double most);
/// Ticks at 1, 2 and 5 times the powers of ten.
Axis logarithmic_axis(double least, double most);

std::string escaped(const std::string& text);
std::string number(double value);  ///< a place: one digit after the point
std::string tick_text(double value);

/// The opening tag with title and white ground; "</svg>" ends it.
std::string page(double width, double height, const std::string& title);
/// anchor: start, middle or end of the text is at x; `more`: attributes.
std::string label(double x, double y, const std::string& anchor, const std::string& text, const std::string& more = "");
std::string segment(double x1, double y1, double x2, double y2, const std::string& style);

}  // namespace bertx::tools::svg
