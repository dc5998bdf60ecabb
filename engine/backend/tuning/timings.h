// What was measured of the forms that a weight can take, and what follows from it. Backends measure, each in its way.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "bertx/backend.h"

namespace bertx {

/// Milliseconds by number of tokens and name of the form. A number of tokens stands for those down to the one before
/// it, the last also for more.
using Timings = std::map<std::int64_t, std::map<std::string, double>>;

/// What a measurement depends on, beside machine and version.
struct WeightShape {
  std::int64_t rows = 0, cols = 0, nonzeros = 0;
  std::string products;  ///< what they read and run on, e.g. "bf16" or "f32, 2 threads"
};
/// Weights whose densities differ by less than a tenth share their measurements, and so their key.
std::string key_of(const WeightShape& shape);

/// The best of `rounds` runs of each form, after one that warms up; in turn, so that a noisy moment hurts all alike.
/// milliseconds(f) runs the form names[f].
std::map<std::string, double> best_in_turn(const std::vector<std::string>& names, int rounds,
                                           const std::function<double(std::size_t)>& milliseconds);

/// Whether all names were timed for all these numbers of tokens.
bool complete(const Timings& timings, std::span<const std::int64_t> tokens, const std::vector<std::string>& names);

/// For each number of tokens the place in `names` of the form that serves it: the one form that is best over all, and a
/// further one, which costs memory, only where it takes at most 95 % of the time without it. Expects times of all
/// names for all tokens.
std::vector<std::size_t> choose_forms(const Timings& timings, const std::vector<std::string>& names);

/// What was measured and chosen, for those who ask why.
std::vector<TunedTime> report(const Timings& timings, const std::vector<std::string>& names,
                              const std::vector<std::size_t>& chosen);

}  // namespace bertx
