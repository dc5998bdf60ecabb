// A model run over labelled examples to see what flows through it: gradients of gates and weights, inputs of linear
// maps.
#pragma once

#include <functional>
#include <string>

#include "bertx/compress.h"

namespace bertx::compress {

/// At most calibration_samples of the examples, from the front.
Calibration sample(const Calibration& calibration, const Recipe& recipe);

/// run(first example, batch) for all examples in turn.
void for_batches(const Model& model, const Calibration& calibration, std::int64_t batch_size,
                 const std::function<void(std::int64_t first, const Batch&)>& run);

/// What a pass over one batch shows. It lives until the next batch.
struct Pass {
  const Batch& batch;
  Tensor starts;           ///< i32 [1, B + 1], as the layers see it
  std::int64_t first = 0;  ///< number of the batch's first example
};

/// Forward and backward of every batch without dropout. The loss is the sum over the examples' own losses, so that each
/// example's gradient is what it would be alone. Parameters that have a gradient (Model::zero_gradients) add to it;
/// `probe` is called with each layer's context and its gradient; `before` and `after` around each batch, either may be
/// null.
void run_backward(Backend& backend, Model& model, const Calibration& calibration, std::int64_t batch_size,
                  const ContextProbe* probe, const std::function<void(const Pass&)>& before,
                  const std::function<void(const Pass&)>& after);

/// Calls seen(path, linear, x [in, T]) with the input of every linear map of the encoder in every batch, forward only.
/// x lives until `seen` returns. Of the last layer of a classifier only the tokens that it reads come.
using InputSeen = std::function<void(const std::string& path, Linear& linear, Tensor x)>;
void run_inputs(Backend& backend, Model& model, const Calibration& calibration, std::int64_t batch_size,
                const InputSeen& seen);

}  // namespace bertx::compress
