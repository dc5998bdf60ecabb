// Masks of pruning, gradient norm, AdamW.
#include <cmath>

#include "backend/reference/reference.h"

namespace bertx {

using reference::at;

namespace {

bool mask_at(Tensor mask, std::int64_t i, std::int64_t j) { return mask.as<std::uint8_t>()[i * mask.stride + j] != 0; }

}  // namespace

// out [m, n] = w [m, n] where mask [m, n], else 0
void ReferenceBackend::mask_apply(Tensor w, Tensor mask, Tensor out) {
  for (std::int64_t i = 0; i < w.rows; ++i) {
    for (std::int64_t j = 0; j < w.cols; ++j) at(out, i, j) = mask_at(mask, i, j) ? at(w, i, j) : 0;
  }
}

// dw [m, n] += g [m, n] where mask [m, n]; dscores [m, n] += w * g everywhere
void ReferenceBackend::mask_grad(Tensor g, Tensor w, Tensor mask, Tensor dw, Tensor dscores) {
  for (std::int64_t i = 0; i < g.rows; ++i) {
    for (std::int64_t j = 0; j < g.cols; ++j) {
      if (!dw.empty() && mask_at(mask, i, j)) at(dw, i, j) += at(g, i, j);
      if (!dscores.empty()) at(dscores, i, j) += at(w, i, j) * at(g, i, j);
    }
  }
}

// scores, dscores [m, n]; dscores += scale * sigmoid'(scores)
double ReferenceBackend::sigmoid_penalty(Tensor scores, double scale, Tensor dscores) {
  double sum = 0;
  for (std::int64_t i = 0; i < scores.rows; ++i) {
    for (std::int64_t j = 0; j < scores.cols; ++j) {
      const double s = 1 / (1 + std::exp(-at(scores, i, j)));
      sum += s;
      at(dscores, i, j) += scale * s * (1 - s);
    }
  }
  return sum;
}

double ReferenceBackend::sum_of_squares(std::span<const Tensor> tensors) {
  double sum = 0;
  for (Tensor x : tensors) {
    for (std::int64_t i = 0; i < x.rows; ++i) {
      for (std::int64_t j = 0; j < x.cols; ++j) sum += at(x, i, j) * at(x, i, j);
    }
  }
  return sum;
}

// Decoupled decay: the weight shrinks by lr * decay, apart from the moments.
void ReferenceBackend::adamw(const AdamWStep& step, std::span<const AdamWItem> items) {
  const double correction1 = step.bias_correction ? 1 - std::pow(step.beta1, static_cast<double>(step.step)) : 1;
  const double correction2 = step.bias_correction ? 1 - std::pow(step.beta2, static_cast<double>(step.step)) : 1;
  for (const AdamWItem& item : items) {
    const double rate = step.learning_rate * item.learning_rate_factor;
    for (std::int64_t i = 0; i < item.value.rows; ++i) {
      for (std::int64_t j = 0; j < item.value.cols; ++j) {
        double& w = at(item.value, i, j);
        w -= rate * item.weight_decay * w;
        if (item.first_moment.empty()) continue;
        double &m = at(item.first_moment, i, j), &v = at(item.second_moment, i, j);
        const double g = item.gradient.empty() ? 0 : at(item.gradient, i, j) * step.gradient_scale;
        if (!item.gradient.empty()) at(item.gradient, i, j) = 0;
        m = step.beta1 * m + (1 - step.beta1) * g;
        v = step.beta2 * v + (1 - step.beta2) * g * g;
        w -= rate * (m / correction1) / (std::sqrt(v / correction2) + step.eps);
      }
    }
  }
}

}  // namespace bertx
