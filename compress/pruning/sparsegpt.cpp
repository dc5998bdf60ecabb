// SparseGPT (Frantar & Alistarh 2023, 2301.00774): prunes each matrix so that what it says of the calibration texts
// changes least, the weights that stay making good of it. Layers are pruned in order, each by inputs that come through
// those pruned before it.
#include "pruning/by_inputs.h"
#include "pruning/methods.h"
#include "pruning/optimal_update.h"
#include "weights/host_copy.h"

namespace bertx::compress {
namespace {

void prune_by_second_moments(Backend& backend, MaskedWeight& weight, const InputSums& inputs, double sparsity,
                             const Recipe& recipe, const Pattern& pattern) {
  const std::int64_t rows = weight.out(), cols = weight.in();
  if (rows * cols == 0) return;
  const std::vector<double> gram = downloaded<double>(backend, inputs.gram.tensor);
  const Eigen::MatrixXd moments = Eigen::Map<const Eigen::MatrixXd>(gram.data(), cols, cols);
  std::vector<std::uint8_t> dead;
  for (Eigen::Index j = 0; j < cols; ++j) dead.push_back(moments(j, j) == 0.0);
  const RowMatrix r = inverse_factor(moments, inputs.tokens, recipe.damp.value_or(0.01));

  const Storage dense = make_storage(backend, rows, cols, backend.real());
  weight.materialize(backend, dense.tensor);
  std::vector<double> values = downloaded<double>(backend, dense.tensor);
  RowMatrix w = Eigen::Map<const RowMatrix>(values.data(), rows, cols);
  change_mask(backend, weight, [&](std::uint8_t* mask, std::int64_t size) {
    for (std::int64_t i = 0; i < size; ++i) mask[i] &= values[static_cast<std::size_t>(i)] != 0.0;
    prune_columns(w, mask, r, dead, sparsity, pattern, recipe.block_size.value_or(128));
    backend.upload(view(w.data(), rows, cols, DType::f64), weight.parameter()->tensor());
  });
}

void sparsegpt_masks(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration) {
  const Pattern pattern = parse_pattern(recipe.pattern);
  prune_by_inputs(backend, model, recipe, calibration, Measure::gram,
                  [&](MaskedWeight& weight, const InputSums& inputs, double sparsity) {
                    prune_by_second_moments(backend, weight, inputs, sparsity, recipe, pattern);
                  });
}

}  // namespace

void sparsegpt_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration) {
  sparsegpt_masks(backend, model, recipe, calibration);
  finalize_masks(backend, model);
}

std::unique_ptr<TrainHook> make_sparsegpt(const Recipe& recipe, const Calibration& calibration) {
  return std::make_unique<MaskAtBeginning>(recipe, calibration, sparsegpt_masks);
}

}  // namespace bertx::compress
