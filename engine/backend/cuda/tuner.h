// Which form of a weight is fastest for how many tokens on this device: measured, and remembered in a file.
#pragma once

#include "backend/cuda/cuda.h"
#include "backend/tuning/tuned_weight.h"

namespace bertx::cuda {

using Candidate = CandidateOf<Weight>;

/// The weight as backend/tuning/tuned_weight.h says; `shape.products` begins with "f32", "tf32" or "bf16". Throws
/// Error(numeric) where two candidates give different results.
std::unique_ptr<PreparedWeight> tuned_weight(Device& device, const WeightShape& shape,
                                             const std::vector<Candidate>& candidates);

/// Numbers of tokens that are measured.
inline constexpr std::int64_t kTunedTokens[] = {1, 8, 32, 128, 512, 2048};

}  // namespace bertx::cuda
