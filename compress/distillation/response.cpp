#include "distillation/response.h"

#include <algorithm>
#include <cmath>

namespace bertx::compress {
namespace {

/// Logits become probabilities; returns the mean of what binary cross entropy of them with themselves is.
double to_probabilities(std::span<float> values) {
  double entropy = 0;
  for (float& value : values) {
    const double z = value, probability = 1 / (1 + std::exp(-z));
    value = static_cast<float>(probability);
    entropy += std::max(z, 0.0) - z * probability + std::log1p(std::exp(-std::abs(z)));
  }
  return values.empty() ? 0.0 : entropy / static_cast<double>(values.size());
}

}  // namespace

double response_loss(Exec& exec, ProblemKind problem, Tensor logits, std::span<float> answers, double temperature,
                     double scale, Tensor dlogits) {
  const double entropy = problem == ProblemKind::multi_label ? to_probabilities(answers) : 0.0;
  const Tensor targets = exec.reals(answers, logits.rows, logits.cols);
  switch (problem) {
    case ProblemKind::single_label:
      return exec.backend.softened_divergence(logits, targets, temperature, scale, dlogits);
    case ProblemKind::regression: return exec.backend.mean_squared_error(logits, targets, scale, dlogits);
    case ProblemKind::multi_label: return exec.backend.binary_cross_entropy(logits, targets, scale, dlogits) - entropy;
  }
  return 0;
}

}  // namespace bertx::compress
