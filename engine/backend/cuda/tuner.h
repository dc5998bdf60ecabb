// Which form of a weight is fastest for how many tokens: measured on this device, remembered by this process.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/cuda/cuda.h"

namespace bertx::cuda {

/// One way to hold and multiply a weight.
struct Candidate {
  std::string name;
  std::function<std::unique_ptr<Weight>()> make;
};

/// What a measurement depends on.
struct WeightShape {
  std::int64_t rows = 0, cols = 0, nonzeros = 0;
  std::string inputs;  ///< "f32", "tf32" or "bf16"
};

/// The weight in the form, or the few forms, that are fastest for some numbers of tokens. Candidates are timed in turn,
/// once for all weights of one shape and about one density. With BERTX_TUNE=off nothing is measured and the first
/// candidate is taken.
std::unique_ptr<PreparedWeight> tuned_weight(Device& device, const WeightShape& shape,
                                             const std::vector<Candidate>& candidates);

/// Numbers of tokens that are measured; each stands for those down to the one before it, the last also for more.
inline constexpr std::int64_t kTunedTokens[] = {1, 8, 32, 128, 512, 2048};

}  // namespace bertx::cuda
