// Which form of a weight is fastest for how many tokens on this processor: measured, and remembered in a file.
#pragma once

#include "backend/cpu/cpu.h"
#include "backend/tuning/tuned_weight.h"

namespace bertx::cpu {

using Candidate = CandidateOf<Weight>;

/// The weight as backend/tuning/tuned_weight.h says; `shape.products` names their type, and gets the number of threads.
std::unique_ptr<PreparedWeight> tuned_weight(WeightShape shape, const std::vector<Candidate>& candidates);

/// Numbers of tokens that are measured. Products take long inputs in blocks of at most 128.
inline constexpr std::int64_t kTunedTokens[] = {1, 4, 8, 16, 32, 64, 128};

}  // namespace bertx::cpu
