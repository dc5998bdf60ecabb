// How sparsity rises during training.
#pragma once

#include <algorithm>

#include "bertx/compress.h"

namespace bertx::compress {

/// Share of training that has passed before update `state.step + 1`: 0 at the first, 1 at the last.
inline double progress(const TrainState& state) {
  if (state.total_steps <= 1) return 1.0;
  return static_cast<double>(state.step) / static_cast<double>(state.total_steps - 1);
}

/// Zhu & Gupta 2017 (1710.01878): from `first` to `last` along a cubic between the shares begin and end of the
/// training.
inline double cubic(double first, double last, double begin, double end, double progress) {
  if (progress >= end) return last;
  if (progress <= begin) return first;
  const double left = 1.0 - (progress - begin) / (end - begin);
  return last + (first - last) * left * left * left;
}

/// A method that ranks moves its mask at every mask_interval-th step, and where the schedule ends.
inline bool mask_is_due(const Recipe& recipe, const TrainState& state) {
  return state.step % recipe.mask_interval == 0 || state.step + 1 == state.total_steps;
}

}  // namespace bertx::compress
