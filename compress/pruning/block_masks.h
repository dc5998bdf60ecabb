// A model whose blocks and neurons have masks and scores, and what is left of it: whole heads and neurons.
#pragma once

#include <vector>

#include "bertx/block_masked_weight.h"
#include "bertx/compress.h"

namespace bertx::compress {

/// Query, key, value and attention output get blocks of block_height x block_width; the feed-forward matrices of a
/// layer one set of scores, a block being a row of the first and the column of the second that belong to one neuron.
/// Biases of query, key, value and of the neurons are masked with them. A model that has blocks already keeps them.
/// Throws Error(usage) that names the matrix for a kind without a dense form, for weights that are shared in part, and
/// for blocks of another size; the model is as it was then.
void mask_blocks(Backend& backend, Model& model, const Recipe& recipe);

/// One set of scores, and the weights that learn it.
struct ScoredBlocks {
  Parameter* scores = nullptr;
  std::vector<BlockMaskedWeight*> weights;
};
std::vector<ScoredBlocks> scored_blocks(Model& model);

/// Masks the blocks with σ(score) <= threshold, but no more than `most` of all weights: of those that would be too many
/// the highest scores stay. Of each set of scores 0.5 % and one are kept.
void threshold_blocks(Backend& backend, Model& model, double threshold, double most);

/// Which heads and neurons are left: a head needs a block in each of query, key, value and attention output that is
/// kept and touches it, a neuron its own mask.
struct Survivors {
  std::vector<std::vector<bool>> heads, neurons;
};
Survivors survivors(Backend& backend, Model& model);

/// Cuts the others out; what is left becomes dense, its values under the masks come back ("fill").
void fill_blocks(Backend& backend, Model& model);

}  // namespace bertx::compress
