// LayerNorm over the features of each token.
#include <cmath>

#include "backend/reference/reference.h"

namespace bertx {

using reference::at;

// Y [F, T] = (X [F, T] - mean [1, T]) * rstd [1, T] * gamma [F, 1] + beta [F, 1]
void ReferenceBackend::layer_norm(Tensor x, Tensor gamma, Tensor beta, double eps, Tensor y, Tensor mean, Tensor rstd) {
  const double features = static_cast<double>(x.rows);
  for (std::int64_t t = 0; t < x.cols; ++t) {
    double sum = 0, squares = 0;
    for (std::int64_t i = 0; i < x.rows; ++i) sum += at(x, i, t);
    const double m = sum / features;
    for (std::int64_t i = 0; i < x.rows; ++i) squares += (at(x, i, t) - m) * (at(x, i, t) - m);
    const double r = 1 / std::sqrt(squares / features + eps);
    for (std::int64_t i = 0; i < x.rows; ++i) at(y, i, t) = (at(x, i, t) - m) * r * at(gamma, i, 0) + at(beta, i, 0);
    at(mean, 0, t) = m;
    at(rstd, 0, t) = r;
  }
}

// With x̂ = (x - mean) * rstd and g = dy * gamma, per token:  dx = rstd * (g - mean(g) - x̂ * mean(g * x̂))
void ReferenceBackend::layer_norm_grad(Tensor x, Tensor gamma, Tensor mean, Tensor rstd, Tensor dy, Tensor dx,
                                       Tensor dgamma, Tensor dbeta) {
  const double features = static_cast<double>(x.rows);
  for (std::int64_t t = 0; t < x.cols; ++t) {
    const double m = at(mean, 0, t), r = at(rstd, 0, t);
    double sum_g = 0, sum_gx = 0;
    for (std::int64_t i = 0; i < x.rows; ++i) {
      const double g = at(dy, i, t) * at(gamma, i, 0);
      sum_g += g;
      sum_gx += g * (at(x, i, t) - m) * r;
    }
    for (std::int64_t i = 0; i < x.rows; ++i) {
      const double normalized = (at(x, i, t) - m) * r, gradient = at(dy, i, t);
      if (!dgamma.empty()) at(dgamma, i, 0) += gradient * normalized;
      if (!dbeta.empty()) at(dbeta, i, 0) += gradient;
      at(dx, i, t) = r * (gradient * at(gamma, i, 0) - sum_g / features - normalized * sum_gx / features);
    }
  }
}

}  // namespace bertx
