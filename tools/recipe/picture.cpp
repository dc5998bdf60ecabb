// The drawing of a recipe's report: panels of bars with the same stations, the metric above the latency.
#include <algorithm>
#include <cmath>
#include <functional>

#include "bertx/error.h"
#include "common/axis.h"
#include "common/svg.h"
#include "common/text.h"
#include "recipe/report.h"

namespace bertx::tools {
namespace {

using svg::Axis, svg::linear_axis, svg::tick_text;
using svg::label, svg::number, svg::segment;

// Told apart by people who see colours differently, too (Okabe & Ito).
constexpr const char *kBlue = "#0072b2", *kOrange = "#d55e00", *kGreen = "#009e73";

constexpr double kLeft = 76, kTop = 84, kPanel = 190, kGap = 62, kBar = 64, kStep = 104, kBelow = 44;

struct Panel {
  std::string title;
  const char* colour;
  std::vector<double> values;  ///< NaN: not measured
  std::function<std::string(double)> shown;
};

/// One panel, its upper end at `top`.
std::string drawn(const Panel& panel, double top) {
  double least = 0, most = 0;
  for (const double value : panel.values) {
    if (!std::isfinite(value)) continue;
    least = std::min(least, value);
    most = std::max(most, value);
  }
  const Axis axis = linear_axis(least, std::max(most, least + 1e-6));
  const auto y_of = [&](double value) { return top + kPanel * (1 - axis.share(value)); };
  const double width = kStep * static_cast<double>(panel.values.size());
  std::string out = label(kLeft, top - 26, "start", panel.title, " font-weight=\"bold\"");
  for (const double tick : axis.ticks) {
    out += segment(kLeft, y_of(tick), kLeft + width, y_of(tick), "stroke=\"#dddddd\"");
    out += label(kLeft - 8, y_of(tick) + 4.5, "end", tick_text(tick));
  }
  for (std::size_t i = 0; i < panel.values.size(); ++i) {
    const double value = panel.values[i], middle = kLeft + kStep * (static_cast<double>(i) + 0.5);
    if (!std::isfinite(value)) {
      out += label(middle, y_of(0) - 6, "middle", "not measured", " fill=\"#777777\"");
      continue;
    }
    const double high = y_of(std::max(value, 0.0)), low = y_of(std::min(value, 0.0));
    out += "<rect x=\"" + number(middle - kBar / 2) + "\" y=\"" + number(high) + "\" width=\"" + number(kBar) +
           "\" height=\"" + number(low - high) + "\" fill=\"" + panel.colour + "\"/>\n";
    out += label(middle, high - 6, "middle", panel.shown(value));
  }
  return out + segment(kLeft, y_of(0), kLeft + width, y_of(0), "stroke=\"#222222\"");
}

/// "step-2-heads" as two lines.
std::string station_label(const std::string& name, double x, double y) {
  const std::size_t cut = name.starts_with("step-") ? name.find('-', 5) : std::string::npos;
  if (cut == std::string::npos) return label(x, y, "middle", name);
  return label(x, y, "middle", "step " + name.substr(5, cut - 5)) + label(x, y + 17, "middle", name.substr(cut + 1));
}

}  // namespace

std::string recipe_picture(const RecipeReport& report, const std::string& title) {
  // 1. What was measured.
  std::vector<Panel> panels;
  if (!report.metric.empty()) {
    Panel panel{report.metric.substr(5), kBlue, {}, [](double value) { return fixed(value, 4); }};
    for (const Station& station : report.stations) {
      const auto found = std::ranges::find(station.figures, report.metric, &Figures::value_type::first);
      panel.values.push_back(found == station.figures.end() ? std::nan("") : found->second);
    }
    panels.push_back(std::move(panel));
  }
  if (report.timed) {
    Panel panel{
        bertx::text("latency of one text of ", report.tokens, " tokens, median, ms"), kOrange, {}, [](double value) {
          return fixed(value, value < 1 ? 3 : 2);
        }};
    for (const Station& station : report.stations) panel.values.push_back(station.latency.median_ms);
    panels.push_back(std::move(panel));
  }
  Panel bytes{"weight files, MB", kGreen, {}, [](double value) { return bytes_text(1e6 * value); }};
  for (const Station& station : report.stations) bytes.values.push_back(static_cast<double>(station.cost.bytes) / 1e6);
  panels.push_back(std::move(bytes));

  // 2. The page, as high as its panels.
  const auto count = static_cast<double>(panels.size()), stations = static_cast<double>(report.stations.size());
  const double bottom = kTop + count * kPanel + (count - 1) * kGap;
  std::string out = svg::head(std::max(kLeft + kStep * stations + 24, 480.0), bottom + kBelow, title);
  out += label(kLeft, 26, "start", title, " font-size=\"17\" font-weight=\"bold\"");
  for (std::size_t p = 0; p < panels.size(); ++p) {
    out += drawn(panels[p], kTop + static_cast<double>(p) * (kPanel + kGap));
  }
  for (std::size_t i = 0; i < report.stations.size(); ++i) {
    out += station_label(report.stations[i].name, kLeft + kStep * (static_cast<double>(i) + 0.5), bottom + 18);
  }
  return out + "</svg>\n";
}

}  // namespace bertx::tools
