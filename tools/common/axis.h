// The axes of drawings: from values to places, with ticks at round numbers.
#pragma once

#include <string>
#include <vector>

namespace bertx::tools::svg {

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
std::string tick_text(double value);

}  // namespace bertx::tools::svg
