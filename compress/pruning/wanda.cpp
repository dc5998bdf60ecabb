// Wanda (Sun, Liu, Bair & Kolter 2023, 2306.11695): keeps the weights with the largest |W_ij| · ‖X_j‖₂ of each row,
// where X_j is the input j over all tokens of the calibration texts. No weight that is kept changes. Layers are pruned
// in order, each by inputs that come through those pruned before it.
#include <cmath>

#include "pruning/by_inputs.h"
#include "pruning/methods.h"

namespace bertx::compress {
namespace {

void keep_largest_products(Backend& backend, MaskedWeight& weight, const InputSums& inputs, double sparsity,
                           const Selection& how) {
  const HostFloats w(backend, weight.parameter()->tensor());
  const std::int64_t rows = weight.out(), cols = weight.in();
  std::vector<double> norms;
  for (const double square : inputs.squares) norms.push_back(std::sqrt(square));
  change_mask(backend, weight, [&](std::uint8_t* mask, std::int64_t size) {
    std::vector<float> scores(static_cast<std::size_t>(size));
    std::vector<std::uint8_t> alive(static_cast<std::size_t>(size));
    for (std::int64_t i = 0; i < size; ++i) {
      const auto at = static_cast<std::size_t>(i);
      alive[at] = mask[i] && w.data()[i] != 0.0f;  // what is zero already stays zero
      scores[at] = alive[at] ? static_cast<float>(std::abs(static_cast<double>(w.data()[i])) *
                                                  norms[static_cast<std::size_t>(i % cols)])
                             : -1.0f;
    }
    const Candidates all{scores.data(), mask, rows, cols};
    select({&all, 1}, sparsity, how, Key::value);
    for (std::int64_t i = 0; i < size; ++i) mask[i] &= alive[static_cast<std::size_t>(i)];
  });
}

void wanda_masks(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration) {
  Selection how = selection_of(recipe, Scope::row);
  how.distribution = Distribution::uniform;  // each matrix is told its own share
  prune_by_inputs(backend, model, recipe, calibration, Measure::squares,
                  [&](MaskedWeight& weight, const InputSums& inputs, double sparsity) {
                    keep_largest_products(backend, weight, inputs, sparsity, how);
                  });
}

}  // namespace

void wanda_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration) {
  wanda_masks(backend, model, recipe, calibration);
  finalize_masks(backend, model);
}

std::unique_ptr<TrainHook> make_wanda(const Recipe& recipe, const Calibration& calibration) {
  return std::make_unique<MaskAtBeginning>(recipe, calibration, wanda_masks);
}

}  // namespace bertx::compress
