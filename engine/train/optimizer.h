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
  /// Gives every parameter that is not frozen a gradient and two moments of zeros, those of the objective (or null)
  /// behind the model's. The representation of the model's weights must not change while the optimizer lives.
  Optimizer(Backend& backend, Model& model, const TrainOptions& options, Objective* objective = nullptr);

  /// Of the word embeddings only rows of these ids have a gradient in this update; each of its micro-batches says so.
  /// Norm and AdamW then leave out what is zero: the gradients of all other rows, and the moments of rows that never
  /// had one. Without a call every row counts.
  void use_word_rows(std::span<const std::int32_t> ids);
  /// The norm of all gradients together; NaN or infinite where one is.
  double gradient_norm();
  /// The path of the first gradient that is not finite; empty: none.
  std::string find_bad_gradient();
  /// One update, the `step`-th from 1. Gradients whose global norm `norm` exceeds max_grad_norm are scaled down first.
  /// All gradients are 0 afterwards.
  void update(double learning_rate, std::int64_t step, double norm);

  struct Entry {
    std::string path;
    Storage first_moment, second_moment;
    Tensor gradient;
  };
  std::span<const Entry> entries() const { return entries_; }
  /// To be called after something else has written the moments of entries().
  void moments_were_loaded();

 private:
  /// What is known of the rows of the word embeddings; empty where they have no gradient or the decoder shares them.
  struct WordRows {
    AdamWItem whole;
    std::vector<std::uint8_t> now;   ///< may have a gradient in this update
    std::vector<std::uint8_t> ever;  ///< may have moments
    bool narrowed = false;           ///< `now` says something
  };
  void gather();

  Backend& backend_;
  AdamWStep hyper_;
  double max_grad_norm_;
  std::vector<Entry> entries_;
  std::vector<AdamWItem> items_;  ///< of entries_, in their order, but for the word embeddings
  WordRows word_;
  std::vector<AdamWItem> update_items_;  ///< of this update: items_ and rows of the word embeddings
  std::vector<Tensor> gradients_;        ///< all that may be other than 0 in this update
};

/// What gradients are multiplied with so that their norm is at most `max_norm` (0: no limit), as torch does it.
double clip_coefficient(double norm, double max_norm);

/// The path of the first parameter with a value that is not finite; empty: none.
std::string find_bad_parameter(Backend& backend, Model& model);

}  // namespace bertx
