// AdamW over all trainable parameters of a model, with clipping by the global norm.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "bertx/train.h"

namespace bertx {

class Optimizer {
 public:
  /// Gives every parameter that is not frozen a gradient and two moments of zeros. The representation of the model's
  /// weights must not change while the optimizer lives.
  Optimizer(Backend& backend, Model& model, const TrainOptions& options);

  void zero_gradients();
  /// The norm of all gradients together; NaN or infinite where one is.
  double gradient_norm();
  /// The path of the first gradient that is not finite; empty: none.
  std::string find_bad_gradient();
  /// One update, the `step`-th from 1. Gradients whose global norm `norm` exceeds max_grad_norm are scaled down first.
  void update(double learning_rate, std::int64_t step, double norm);

  struct Entry {
    std::string path;
    Storage first_moment, second_moment;
  };
  std::span<const Entry> entries() const { return entries_; }

 private:
  Backend& backend_;
  AdamWStep hyper_;
  double max_grad_norm_;
  std::vector<Entry> entries_;
  std::vector<AdamWItem> items_;   ///< of entries_, in their order
  std::vector<Tensor> gradients_;  ///< the same
};

/// What gradients are multiplied with so that their norm is at most `max_norm` (0: no limit), as torch does it.
double clip_coefficient(double norm, double max_norm);

/// The path of the first parameter with a value that is not finite; empty: none.
std::string find_bad_parameter(Backend& backend, Model& model);

}  // namespace bertx
