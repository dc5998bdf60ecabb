// Compression methods by name: a recipe becomes a hook of the trainer, or acts at once where no training is asked for.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bertx/train.h"

namespace bertx::compress {

enum class Scope : std::uint8_t { local, global };  ///< ranked inside each matrix, or over all matrices together

/// What to do. Defaults are those of the papers, scaled to the length of the training (methods: compress/*.cpp).
struct Recipe {
  std::string method = "magnitude";
  double sparsity = 0.9;           ///< of the encoder's matrices (heads: share of all heads), 0 <= sparsity < 1
  bool sparsity_is_stated = true;  ///< soft movement: steer towards it
  Scope scope = Scope::local;
  double schedule_begin = 0.1;        ///< share of the steps before the first zero
  double schedule_end = 0.7;          ///< share of the steps after which the sparsity stays (the mask still moves)
  double initial_sparsity = 0.0;      ///< at schedule_begin
  std::int64_t mask_interval = 10;    ///< steps between two rankings; soft movement compares at every step
  double learning_rate = 5e-5;        ///< of the weights, as the trainer has it
  double score_learning_rate = 1e-2;  ///< movement: peak rate of the scores, on the trainer's schedule
  std::optional<double> regularization = std::nullopt;  ///< soft movement: λ by hand instead of steering
  double threshold = 0.1;                               ///< soft movement: final τ
  double heads_per_round = 0.1;            ///< heads: share of all heads removed between two estimates of importance
  std::int64_t importance_samples = 2048;  ///< heads: at most so many training examples
  std::uint64_t seed = 42;
};

enum class Training : std::uint8_t { never, optional, always };

/// One row of the table of methods.
struct Method {
  std::string_view name, summary, paper;
  Training training;
  bool needs_data;  ///< labelled examples, even without training
};
std::span<const Method> methods();
/// Throws Error(usage) with the nearest name.
const Method& find_method(std::string_view name);
/// Throws Error(usage) naming the option, what was found and what was expected.
void check(const Recipe& recipe);

/// Labelled examples for methods that look at gradients before training.
struct Calibration {
  std::span<const EncodedExample> examples;
  LabelKind kind = LabelKind::none;
};

/// For training under the recipe; the trainer calls it. `calibration` must outlive it.
std::unique_ptr<TrainHook> make_compressor(const Recipe& recipe, const Calibration& calibration = {});

/// The recipe without training: compresses at once, and makes it real (cuts, exact zeros, CSR).
void compress_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration = {});

// ---- heads ------------------------------------------------------------------------------------------------------

/// importance[layer][head]: mean over examples of |Σ context · dL/dcontext| (Michel et al. 2019, 1905.10650), as it is
/// before the normalisation per layer.
std::vector<std::vector<double>> head_importance(Backend& backend, Model& model, const Calibration& calibration,
                                                 std::int64_t batch_size = 16);
/// Cuts the heads that are not kept out of their matrices; keep[layer][head]. b_O stays, also without any head.
void keep_heads(Backend& backend, Model& model, const std::vector<std::vector<bool>>& keep);

// ---- representations ----------------------------------------------------------------------------------------------

/// Dense and CSR weights of the encoder become masked ones (all kept; a CSR pattern is kept as it is); movement pruning
/// asks for scores. Throws Error(usage) for kinds that cannot be masked.
void mask_weights(Backend& backend, Model& model, bool with_scores);
/// Masked weights become CSR where at least `least` of the matrix is zero, dense with exact zeros elsewhere.
void finalize_masks(Backend& backend, Model& model, double least = 0.5);

/// What is in one linear map of the encoder.
struct MatrixReport {
  std::string name, kind;
  std::int64_t out = 0, in = 0, nonzeros = 0, multiplies = 0;
  double sparsity() const {
    return out * in == 0 ? 0.0 : 1.0 - static_cast<double>(nonzeros) / static_cast<double>(out * in);
  }
};
struct Report {
  std::vector<MatrixReport> matrices;
  std::int64_t parameters = 0;  ///< of the whole model
  std::int64_t encoder_elements = 0, encoder_nonzeros = 0;
  double sparsity() const {
    return encoder_elements == 0 ? 0.0
                                 : 1.0 - static_cast<double>(encoder_nonzeros) / static_cast<double>(encoder_elements);
  }
};
Report report(Backend& backend, Model& model);

}  // namespace bertx::compress
