// What the loss says of each head and each feed-forward neuron: the gradient of a gate on it.
#include <algorithm>
#include <cmath>

#include "calibration/gates.h"
#include "structure/rounds.h"

namespace bertx::compress {
namespace {

// The mean of what |Σ of the gate's gradients| is for each text, token or batch.
Scores gate_importance(Backend& backend, Model& model, const Calibration& calibration, std::int64_t batch_size, Per per,
                       std::int64_t LayerShape::*size) {
  Scores sums;
  for (const EncoderLayer& layer : model.layers) sums.emplace_back(static_cast<std::size_t>(layer.shape.*size));
  const GatesSeen seen = [&](const GateGradients& gradients) {
    const auto segments = static_cast<std::size_t>(gradients.segments);
    for (std::size_t gate = 0; gate < sums[gradients.layer].size(); ++gate) {
      double sum = 0;
      for (std::size_t s = 0; s < segments; ++s) {
        const double g = gradients.values[gate * segments + s];
        sum += per == Per::batch ? g : std::abs(g);
      }
      sums[gradients.layer][gate] += std::abs(sum);
    }
  };
  const bool heads = size == &LayerShape::heads;
  run_gates(backend, model, calibration, batch_size, per == Per::token, heads ? seen : nullptr, heads ? nullptr : seen);

  std::size_t count = calibration.examples.size();
  if (per == Per::token) {
    count = 0;
    for (const EncodedExample& example : calibration.examples) count += example.ids.size();
  }
  for (std::vector<double>& layer : sums) {
    for (double& sum : layer) sum /= static_cast<double>(std::max<std::size_t>(1, count));
  }
  return sums;
}

}  // namespace

std::vector<std::vector<double>> head_importance(Backend& backend, Model& model, const Calibration& calibration,
                                                 std::int64_t batch_size, Per per) {
  return gate_importance(backend, model, calibration, batch_size, per, &LayerShape::heads);
}

std::vector<std::vector<double>> neuron_importance(Backend& backend, Model& model, const Calibration& calibration,
                                                   std::int64_t batch_size, Per per) {
  return gate_importance(backend, model, calibration, batch_size, per, &LayerShape::ffn);
}

}  // namespace bertx::compress
