// Head removal by the importance of a gate on each head (Michel, Levy & Neubig 2019, 1905.10650): iterative, physical.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "bertx/error.h"
#include "calibration/examples.h"
#include "structure/methods.h"

namespace bertx::compress {
namespace {

struct HeadPlace {
  std::size_t layer, head;
  double importance;
};

std::int64_t head_count(const Model& model) {
  return std::accumulate(model.layers.begin(), model.layers.end(), std::int64_t{0},
                         [](std::int64_t sum, const EncoderLayer& layer) { return sum + layer.shape.heads; });
}

// The heads of all layers, least important first; importance is L2-normalised inside each layer, as in the paper.
std::vector<HeadPlace> ranked_heads(const std::vector<std::vector<double>>& importance) {
  std::vector<HeadPlace> all;
  for (std::size_t layer = 0; layer < importance.size(); ++layer) {
    double norm = 0;
    for (const double i : importance[layer]) norm += i * i;
    for (std::size_t head = 0; head < importance[layer].size(); ++head) {
      all.push_back({layer, head, norm > 0 ? importance[layer][head] / std::sqrt(norm) : 0.0});
    }
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const HeadPlace& a, const HeadPlace& b) { return a.importance < b.importance; });
  return all;
}

}  // namespace

std::vector<std::vector<double>> head_importance(Backend& backend, Model& model, const Calibration& calibration,
                                                 std::int64_t batch_size) {
  std::vector<std::vector<double>> sums;
  for (const EncoderLayer& layer : model.layers) sums.emplace_back(static_cast<std::size_t>(layer.shape.heads));
  Arena arena(backend);
  Tensor starts;
  const ContextProbe probe = [&](int index, Tensor context, Tensor dcontext) {
    std::vector<double>& sum = sums[static_cast<std::size_t>(index)];
    if (sum.empty()) return;
    const auto heads = static_cast<std::int64_t>(sum.size());
    const Tensor gates = arena.take(heads, starts.cols - 1, backend.real());
    backend.segment_dot(context, dcontext, starts, gates);
    std::vector<double> host(static_cast<std::size_t>(gates.size()));
    backend.download(gates, view(host.data(), gates.rows, gates.cols, DType::f64));
    for (std::size_t i = 0; i < host.size(); ++i) sum[i / static_cast<std::size_t>(gates.cols)] += std::abs(host[i]);
  };

  run_backward(
      backend, model, calibration, batch_size, &probe, [&](const Pass& pass) { starts = pass.starts; }, nullptr);
  const std::size_t count = calibration.examples.size();
  for (std::vector<double>& layer : sums) {
    for (double& sum : layer) sum /= static_cast<double>(std::max<std::size_t>(1, count));
  }
  return sums;
}

void heads_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration) {
  const std::int64_t full = model.config.heads * static_cast<std::int64_t>(model.layers.size());
  const auto target = full - static_cast<std::int64_t>(std::llround(recipe.sparsity * static_cast<double>(full)));
  const auto round = std::max<std::int64_t>(1, std::llround(recipe.heads_per_round * static_cast<double>(full)));
  const Calibration used = sample(calibration, recipe);
  model.drop_gradients();  // only the gates' gradients are wanted
  for (std::int64_t left = head_count(model); left > target; left = head_count(model)) {
    const std::vector<HeadPlace> ranked = ranked_heads(head_importance(backend, model, used, recipe.calibration_batch));
    std::vector<std::vector<bool>> keep;
    for (const EncoderLayer& layer : model.layers) keep.emplace_back(static_cast<std::size_t>(layer.shape.heads), true);
    for (std::int64_t n = 0; n < std::min(round, left - target); ++n) {
      const HeadPlace& place = ranked[static_cast<std::size_t>(n)];
      keep[place.layer][place.head] = false;
    }
    keep_heads(backend, model, keep);
  }
}

}  // namespace bertx::compress
