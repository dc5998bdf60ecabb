// One pruning step of the optimal BERT surgeon: estimate, rank, prune, correct.
#pragma once

#include "pruning/masks.h"

namespace bertx::compress {

/// Of masked weights: estimates their Fisher matrices from calibration texts, prunes until `sparsity` of them are zero,
/// and changes those that stay; the weights themselves are changed, pruned ones are exact zeros. `draw` numbers the
/// choice of texts. Gradients that parameters hold are left alone.
///
/// Where the Fisher matrices and a few gradients of all weights take more than fisher_memory MiB, they are made for
/// some matrices after others, all gradients being computed again for each such group: once for the scores, once more
/// for the corrections (the last group keeps its own in between).
void prune_by_curvature(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration,
                        double sparsity, std::uint64_t draw);

}  // namespace bertx::compress
