// One update of the parameters: micro-batches forward and backward, the hook, the checks, clip, AdamW.
#pragma once

#include <cstdint>
#include <functional>

#include "bertx/train.h"
#include "train/optimizer.h"

namespace bertx {

struct UpdateResult {
  double loss = 0;           ///< mean over the micro-batches, plus the hook's penalty
  double gradient_norm = 0;  ///< before clipping
  std::int64_t tokens = 0;
};

/// Keeps what lives from one update to the next, so that after the first few nothing is allocated any more.
class UpdateStep {
 public:
  /// `seed` is that of the training; dropout follows from it, the step and the micro-batch.
  /// Without an objective the loss is that of the labels.
  UpdateStep(Backend& backend, Model& model, const TrainOptions& options, Objective* objective = nullptr);

  /// The update after `state.step` ones, with state.learning_rate. `batch(i)` is called for i in [0, micro_batches).
  /// Throws Error(numeric) before anything is updated when the loss or a gradient is not finite; it cannot go on then,
  /// for gradients are cleared by an update.
  UpdateResult run(const TrainState& state, std::int64_t micro_batches, const std::function<Batch(std::int64_t)>& batch,
                   TrainHook* hook);

  /// Forward and backward of the micro-batch `micro` of the update after `step` ones; its share of the loss.
  double accumulate(const Batch& batch, std::int64_t step, std::int64_t micro, std::int64_t micro_batches);
  /// Takes at once what the longest batch needs: nothing is allocated in the midst of a training then.
  void reserve(std::size_t activations) { arena_.reserve(activations); }

  Optimizer& optimizer() { return optimizer_; }
  const Arena& arena() const { return arena_; }

 private:
  Backend& backend_;
  Model& model_;
  Objective* objective_;
  std::uint64_t seed_;
  bool recompute_;
  Optimizer optimizer_;
  Arena arena_;
  Model::Saved saved_;
};

/// The seed of the dropout of one micro-batch.
std::uint64_t dropout_seed(std::uint64_t seed, std::int64_t step, std::int64_t micro_batch);

}  // namespace bertx
