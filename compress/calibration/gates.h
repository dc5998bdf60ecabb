// Gradients of a gate ξ = 1 on each head's context and on each feed-forward neuron's activation: what the loss says of
// a part before it is removed. dL/dξ = Σ a · dL/da over the features and tokens of the part, for each text by itself.
#pragma once

#include <span>

#include "calibration/examples.h"

namespace bertx::compress {

/// What one batch says of one layer.
struct GateGradients {
  std::size_t layer = 0;
  std::int64_t first = 0;          ///< number of the batch's first example
  std::int64_t segments = 0;       ///< texts of the batch, or tokens
  std::span<const double> values;  ///< [gates, segments], row by row
};
using GatesSeen = std::function<void(const GateGradients&)>;

/// Forward and backward of all texts, without gradients of parameters, as run_backward does it; either of `heads` and
/// `neurons` may be empty. A layer without gates tells nothing. Of the last layer of a classifier the neurons are
/// active at each text's first token only.
void run_gates(Backend& backend, Model& model, const Calibration& calibration, std::int64_t batch_size, bool per_token,
               const GatesSeen& heads, const GatesSeen& neurons);

}  // namespace bertx::compress
