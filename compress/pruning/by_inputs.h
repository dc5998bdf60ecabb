// Pruning at once by what comes into each matrix: what Wanda and SparseGPT share.
#pragma once

#include "pruning/masks.h"

namespace bertx::compress {

/// Of the inputs X [in, n] of a linear map, all its uses together.
struct InputSums {
  std::int64_t tokens = 0;      ///< n
  std::vector<double> squares;  ///< [in] Σ x²
  Storage gram;                 ///< [in, in] X Xᵀ, where it was asked for
};
enum class Measure : std::uint8_t { squares, gram };

/// Sets the mask of a weight, and may change the weight itself, so that `sparsity` of it is zero.
using PruneMatrix = std::function<void(MaskedWeight& weight, const InputSums& inputs, double sparsity)>;

/// Prunes the encoder layer by layer: a layer's inputs are measured behind the layers that were pruned before it, and
/// inside the layer as it is, as the papers' code does. Where matrices are shared between layers, all are measured on
/// the model as it was. The weights are masked afterwards.
void prune_by_inputs(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration,
                     Measure measure, const PruneMatrix& prune);

/// A method that prunes at once, as a hook: it acts before the first step, training leaves the zeros where they are.
class MaskAtBeginning final : public TrainHook {
 public:
  using Mask = void (*)(Backend&, Model&, const Recipe&, const Calibration&);
  MaskAtBeginning(const Recipe& recipe, const Calibration& calibration, Mask mask)
      : recipe_(recipe), calibration_(calibration), mask_(mask) {}

  void begin(Backend& backend, Model& model, const TrainState& state) override;
  void finish(Backend& backend, Model& model, const TrainState& state) override;
  std::vector<std::pair<std::string, double>> figures() const override { return {{"sparsity", share_}}; }

 private:
  Recipe recipe_;
  Calibration calibration_;
  Mask mask_;
  double share_ = 0;
};

}  // namespace bertx::compress
