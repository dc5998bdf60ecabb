// Head removal by the importance of a gate on each head (Michel, Levy & Neubig 2019, 1905.10650): iterative, physical.
// The paper takes the gate's gradient of each text absolute; others sum it over a batch first, or take it absolute at
// each token. Magnitude and random are what it must beat.
#include <cmath>

#include "calibration/examples.h"
#include "factorization/decompose.h"
#include "structure/methods.h"
#include "structure/rounds.h"

namespace bertx::compress {
namespace {

// The length of all that a head has: its rows of q, k, v and its columns of W_O.
Scores head_magnitudes(Backend& backend, const Model& model) {
  Scores scores;
  for (const EncoderLayer& layer : model.layers) {
    std::vector<double>& of_layer = scores.emplace_back(static_cast<std::size_t>(layer.shape.heads));
    const Matrix query = matrix_of(backend, *layer.query.weight), key = matrix_of(backend, *layer.key.weight),
                 value = matrix_of(backend, *layer.value.weight),
                 output = matrix_of(backend, *layer.attention_output.weight);
    for (std::size_t head = 0; head < of_layer.size(); ++head) {
      const auto size = layer.shape.head_dim, first = static_cast<std::int64_t>(head) * size;
      double squares = output.middleCols(first, size).squaredNorm();
      for (const Matrix* rows : {&query, &key, &value}) squares += rows->middleRows(first, size).squaredNorm();
      of_layer[head] = std::sqrt(squares);
    }
  }
  return scores;
}

}  // namespace

void heads_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration) {
  const std::string_view by = importance_of(recipe, "example token batch magnitude random");
  const Calibration used = sample(calibration, recipe);
  const auto score = [&] {
    if (by == "random") return random_scores(model, &LayerShape::heads, recipe.seed);
    const Per per = by == "token" ? Per::token : by == "batch" ? Per::batch : Per::example;
    Scores scores = by == "magnitude" ? head_magnitudes(backend, model)
                                      : head_importance(backend, model, used, recipe.calibration_batch, per);
    normalise_layers(scores);
    return scores;
  };
  const std::int64_t full = model.config.heads * static_cast<std::int64_t>(model.layers.size());
  remove_in_rounds(backend, model, recipe, used, {&LayerShape::heads, keep_heads, full, recipe.heads_per_round}, score);
}

}  // namespace bertx::compress
