#include "bench/plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "bertx/error.h"
#include "bertx/files.h"
#include "common/axis.h"
#include "common/svg.h"
#include "common/text.h"

namespace bertx::tools {
namespace {

using svg::Axis, svg::linear_axis, svg::logarithmic_axis, svg::tick_text;
using svg::escaped, svg::label, svg::number, svg::segment;

constexpr double kLeft = 76, kTop = 66, kWidth = 520, kHeight = 340, kBottom = 58, kRow = 20;

// Told apart by people who see colours differently, too (Okabe & Ito), and by their dashes when printed in grey.
constexpr std::array<const char*, 6> kColours{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#a6761d", "#333333"};
constexpr std::array<const char*, 3> kDashes{"", "7 4", "2 3"};

std::string stroke_of(std::size_t line) {
  const std::string dash = kDashes[line / kColours.size() % kDashes.size()];
  return std::string("stroke=\"") + kColours[line % kColours.size()] + "\" stroke-width=\"2\" fill=\"none\"" +
         (dash.empty() ? "" : " stroke-dasharray=\"" + dash + "\"");
}

}  // namespace

std::string svg_of(const Plot& plot) {
  // 1. The axes.
  const double huge = std::numeric_limits<double>::max();
  double x_least = huge, x_most = -huge, y_least = huge, y_most = 0;
  for (const Plot::Line& line : plot.lines) {
    for (const auto& [x, y] : line.points) {
      x_least = std::min(x_least, x), x_most = std::max(x_most, x);
      y_least = std::min(y_least, y), y_most = std::max(y_most, y);
    }
  }
  const Axis x_axis = linear_axis(std::min(x_least, 0.0), std::max(x_most, 100.0));
  const Axis y_axis = y_most > 25 * y_least && y_least > 0 ? logarithmic_axis(y_least, y_most) : linear_axis(0, y_most);
  const auto x_of = [&](double x) { return kLeft + kWidth * x_axis.share(x); };
  const auto y_of = [&](double y) { return kTop + kHeight * (1 - y_axis.share(y)); };

  // 2. The page: as wide as the longest name of a line needs.
  std::size_t longest = 0;
  for (const Plot::Line& line : plot.lines) longest = std::max(longest, line.name.size());
  const double legend = kLeft + kWidth + 24, width = legend + 46 + 7 * static_cast<double>(longest);
  const double height = std::max(kTop + kHeight + kBottom, kTop + kRow * static_cast<double>(plot.lines.size() + 1));
  std::string out = svg::head(width, height, plot.title);
  out += label(kLeft, 26, "start", plot.title, " font-size=\"17\" font-weight=\"bold\"");
  out += label(kLeft, 46, "start", plot.subtitle, " fill=\"#555555\"");

  // 3. Grid, ticks, labels.
  for (const double tick : y_axis.ticks) {
    out += segment(kLeft, y_of(tick), kLeft + kWidth, y_of(tick), "stroke=\"#dddddd\"");
    out += label(kLeft - 8, y_of(tick) + 4.5, "end", tick_text(tick));
  }
  for (const double tick : x_axis.ticks) {
    out += segment(x_of(tick), kTop + kHeight, x_of(tick), kTop + kHeight + 5, "stroke=\"#222222\"");
    out += label(x_of(tick), kTop + kHeight + 20, "middle", tick_text(tick));
  }
  out += segment(kLeft, kTop, kLeft, kTop + kHeight, "stroke=\"#222222\"");
  out += segment(kLeft, kTop + kHeight, kLeft + kWidth, kTop + kHeight, "stroke=\"#222222\"");
  out += label(kLeft + kWidth / 2, kTop + kHeight + 44, "middle", plot.x_label);
  out += label(0, 0, "middle", plot.y_label,
               " transform=\"translate(20 " + number(kTop + kHeight / 2) + ") rotate(-90)\"");

  // 4. The lines, and beside them what they are.
  for (std::size_t i = 0; i < plot.lines.size(); ++i) {
    const Plot::Line& line = plot.lines[i];
    const std::string colour = kColours[i % kColours.size()];
    std::string points;
    for (const auto& [x, y] : line.points)
      points += (points.empty() ? "" : " ") + number(x_of(x)) + "," + number(y_of(y));
    out += "<polyline points=\"" + points + "\" " + stroke_of(i) + "/>\n";
    for (const auto& [x, y] : line.points) {
      out += "<circle cx=\"" + number(x_of(x)) + "\" cy=\"" + number(y_of(y)) + "\" r=\"3.5\" fill=\"" + colour +
             "\"><title>" + escaped(line.name + ": " + tick_text(x) + " %, " + fixed(y, 3) + " ms") +
             "</title></circle>\n";
    }
    const double row = kTop + 8 + kRow * static_cast<double>(i);
    out += segment(legend, row, legend + 28, row, stroke_of(i));
    out += label(legend + 36, row + 4.5, "start", line.name);
  }
  return out + "</svg>\n";
}

}  // namespace bertx::tools
