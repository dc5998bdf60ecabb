#include "common/axis.h"

#include <algorithm>
#include <cmath>

#include "bertx/files.h"

namespace bertx::tools::svg {

double Axis::share(double value) const {
  return logarithmic ? std::log(value / least) / std::log(most / least) : (value - least) / (most - least);
}

Axis linear_axis(double least, double most) {
  Axis axis;
  const double raw = std::max(most - least, 1e-9) / 6, power = std::pow(10, std::floor(std::log10(raw)));
  double step = 10 * power;
  for (const double nice : {5.0, 2.5, 2.0, 1.0}) {
    if (nice * power >= raw) step = nice * power;
  }
  axis.least = step * std::floor(least / step + 1e-9);
  axis.most = step * std::ceil(most / step - 1e-9);
  for (double tick = axis.least; tick <= axis.most + step / 2; tick += step) axis.ticks.push_back(tick);
  return axis;
}

Axis logarithmic_axis(double least, double most) {
  Axis axis;
  axis.logarithmic = true;
  for (double power = std::pow(10, std::floor(std::log10(least))); power <= most; power *= 10) {
    for (const double nice : {1.0, 2.0, 5.0}) axis.ticks.push_back(nice * power);
  }
  axis.ticks.push_back(10 * std::pow(10, std::floor(std::log10(most))));
  while (axis.ticks.size() > 2 && axis.ticks[1] <= least) axis.ticks.erase(axis.ticks.begin());
  while (axis.ticks.size() > 2 && axis.ticks[axis.ticks.size() - 2] >= most) axis.ticks.pop_back();
  axis.least = axis.ticks.front();
  axis.most = axis.ticks.back();
  return axis;
}

std::string tick_text(double value) { return number_text(std::round(1e6 * value) / 1e6); }

}  // namespace bertx::tools::svg
