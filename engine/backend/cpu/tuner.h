// Which form of a weight is fastest for how many tokens: measured on this machine, remembered in a file.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/cpu/cpu.h"
#include "backend/cpu/tuning/tuning_file.h"
#include "backend/tuning_wanted.h"

namespace bertx::cpu {

/// One way to hold and multiply a weight, e.g. "csr-f32, tiles of 192" or "dense-f32".
struct Candidate {
  std::string name;
  std::function<std::unique_ptr<Weight>()> make;
};

/// What a measurement depends on, beside machine and version.
struct WeightShape {
  std::int64_t rows = 0, cols = 0, nonzeros = 0;
  DType dtype = DType::f32;  ///< of the products
};

/// The weight in one form, or in the few of which each is fastest for some numbers of tokens (a form beyond the first
/// is kept only where it saves 5 %, for it costs memory). Candidates are timed in turn, once for all weights of
/// one shape, about one density and one number of threads; the choice is remembered (tuning_file.h).
/// With BERTX_TUNE=off nothing is measured and the first candidate is taken: the same on every machine.
std::unique_ptr<PreparedWeight> tuned_weight(const WeightShape& shape, const std::vector<Candidate>& candidates);

/// Numbers of tokens that are measured; each stands for those down to the one before it, the last also for more, since
/// products take long inputs in blocks of at most 128.
inline constexpr std::int64_t kTunedTokens[] = {1, 4, 8, 16, 32, 64, 128};

/// For each of kTunedTokens the place in `names` of the form that serves it: the one form that is best over all, then
/// whatever is worth its memory. Expects times of all names for all tokens.
std::vector<std::size_t> choose_forms(const Timings& timings, const std::vector<std::string>& names);

}  // namespace bertx::cpu
