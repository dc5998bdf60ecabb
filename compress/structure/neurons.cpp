// Feed-forward neurons removed by what the loss would change without them, to first order (Molchanov et al. 2017,
// 1611.06440; with gates 2019, 1906.10771; for BERT McCarley et al. 2019, 1910.06360): the gate's gradient
// dL/dξ_j = Σ a_j · dL/da_j = ⟨W_2[:, j], dW_2[:, j]⟩, absolute for each text. Scores are compared over all layers as
// they are: they are differences of one loss. Iterative, physical; a layer may lose all its neurons.
#include <cmath>

#include "calibration/examples.h"
#include "factorization/decompose.h"
#include "structure/methods.h"
#include "structure/rounds.h"

namespace bertx::compress {
namespace {

// The length of a neuron's row of W_1 and column of W_2.
Scores neuron_magnitudes(Backend& backend, const Model& model) {
  Scores scores;
  for (const EncoderLayer& layer : model.layers) {
    const Eigen::VectorXd squares = matrix_of(backend, *layer.ffn_in.weight).rowwise().squaredNorm() +
                                    matrix_of(backend, *layer.ffn_out.weight).colwise().squaredNorm().transpose();
    std::vector<double>& of_layer = scores.emplace_back(squares.begin(), squares.end());
    for (double& score : of_layer) score = std::sqrt(score);
  }
  return scores;
}

}  // namespace

void neurons_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration) {
  const std::string_view by = importance_of(recipe, "taylor magnitude random");
  const Calibration used = sample(calibration, recipe);
  const auto score = [&]() -> Scores {
    if (by == "random") return random_scores(model, &LayerShape::ffn, recipe.seed);
    if (by == "magnitude") return neuron_magnitudes(backend, model);
    return neuron_importance(backend, model, used, recipe.calibration_batch);
  };
  const std::int64_t full = model.config.ffn * static_cast<std::int64_t>(model.layers.size());
  remove_in_rounds(backend, model, recipe, used, {&LayerShape::ffn, keep_neurons, full, recipe.neurons_per_round},
                   score);
}

}  // namespace bertx::compress
