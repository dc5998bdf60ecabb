// A recipe becomes a hook of the trainer, or acts at once where no training is asked for; and what methods are made of.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bertx/recipe.h"
#include "bertx/train.h"

namespace bertx::compress {

/// Labelled examples for methods that look at gradients before training.
struct Calibration {
  std::span<const EncodedExample> examples;
  LabelKind kind = LabelKind::none;
  std::string metric = {};    ///< what the task is judged by; empty: accuracy, pearson, f1_micro as the kind says
  std::int32_t positive = 1;  ///< the class that F1 is about
};

/// For training under the recipe; the trainer calls it. `calibration` must outlive it.
std::unique_ptr<TrainHook> make_compressor(const Recipe& recipe, const Calibration& calibration = {});

/// The recipe without training: compresses at once, and makes it real (cuts, exact zeros, CSR).
void compress_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration = {});

// ---- heads and neurons ------------------------------------------------------------------------------------------

/// Of a gate on each part: its gradient dL/dξ = Σ activation · dL/dactivation is made absolute for each text, for each
/// token, or for each batch (what public codes differ in), and the mean is taken.
enum class Per : std::uint8_t { example, token, batch };
/// importance[layer][head]: by default the mean over examples of |Σ context · dL/dcontext| (Michel et al. 2019,
/// 1905.10650), as it is before the normalisation per layer.
std::vector<std::vector<double>> head_importance(Backend& backend, Model& model, const Calibration& calibration,
                                                 std::int64_t batch_size = 16, Per per = Per::example);
/// importance[layer][neuron]: the same for the activations of the feed-forward parts (Molchanov et al. 2017,
/// 1611.06440; with gates 2019, 1906.10771).
std::vector<std::vector<double>> neuron_importance(Backend& backend, Model& model, const Calibration& calibration,
                                                   std::int64_t batch_size = 16, Per per = Per::example);
/// Cuts the heads that are not kept out of their matrices; keep[layer][head]. b_O stays, also without any head. Weights
/// keep their kind; the old ones stay as they are in whoever else holds them. Layers that share a weight must keep the
/// same: otherwise Error(usage), and the model is as it was.
void keep_heads(Backend& backend, Model& model, const std::vector<std::vector<bool>>& keep);
/// The same for the neurons of the feed-forward parts; keep[layer][neuron]. b_2 stays, also without any neuron.
void keep_neurons(Backend& backend, Model& model, const std::vector<std::vector<bool>>& keep);

// ---- representations ----------------------------------------------------------------------------------------------

/// Dense and CSR weights of the encoder, also where they are factors or terms of others, become masked ones, all kept;
/// movement pruning asks for scores. Throws Error(usage) for kinds that cannot be masked, the model being as it was.
void mask_weights(Backend& backend, Model& model, bool with_scores);
/// Masked weights become CSR where at least `least` of the matrix is zero, dense with exact zeros elsewhere.
void finalize_masks(Backend& backend, Model& model, double least = 0.5);
/// Dense weights of the encoder become CSR where their zeros make the file smaller that way.
void compact_zeros(Backend& backend, Model& model);

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
