// Whole layers: how much each changes what it is given, and an encoder of some of them.
#pragma once

#include "bertx/compress.h"

namespace bertx::compress {

/// Mean cosine, over the tokens of all texts, of each layer's input and output.
std::vector<double> layer_cosines(Backend& backend, const Model& model, const Calibration& calibration,
                                  std::int64_t batch_size);
/// The layers that are kept, in their order; what they share stays shared. keep[layer].
void keep_layers(Backend& backend, Model& model, const std::vector<bool>& keep);

}  // namespace bertx::compress
