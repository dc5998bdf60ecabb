// The encoder run one layer at a time over all examples, so that each layer is measured behind those that were already
// changed: what SparseGPT and Wanda do.
#pragma once

#include "calibration/examples.h"

namespace bertx::compress {

/// For each layer in turn: seen(path, linear, x [in, T]) for the inputs of its linear maps in every batch, the layer
/// being as it is; then change(layer); then the changed layer runs, and what it says is what the next layer is given.
/// Two passes over the encoder in all. The hidden states of all examples are kept meanwhile. Of the last layer of a
/// classifier only the tokens that it reads come.
void run_layers(Backend& backend, Model& model, const Calibration& calibration, std::int64_t batch_size,
                const InputSeen& seen, const std::function<void(std::size_t layer)>& change);

}  // namespace bertx::compress
