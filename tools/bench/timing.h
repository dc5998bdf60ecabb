// Times of repeated runs: the fastest, since other processes only ever add time, and the median, which shows how much.
#pragma once

#include <algorithm>
#include <chrono>
#include <vector>

namespace bertx::tools {

struct Timing {
  double min_ms = 0, median_ms = 0;
};

inline Timing timing_of(std::vector<double> times) {
  if (times.empty()) return {};
  std::ranges::sort(times);
  const std::size_t n = times.size();
  return {times.front(), n % 2 == 1 ? times[n / 2] : (times[n / 2 - 1] + times[n / 2]) / 2};
}

/// Milliseconds that `run()` takes.
template <class Run>
double milliseconds(const Run& run) {
  const auto begin = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace bertx::tools
