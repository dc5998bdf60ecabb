// LayerNorm: a token is a lane, its features lie down a column, so all reductions stay in their lanes. A block of
// tokens (256 bytes a row at most) is walked again while it is in L2.
#include "backend/cpu/kernels.h"
#include "backend/cpu/vectors.h"

namespace bertx::cpu::BERTX_ISA_NAMESPACE {
namespace {

constexpr int64_t kRun = 32;  // features summed in a chain before they join the total: keeps rounding small

/// Σ term(i) over the features
template <class Term>
BERTX_INLINE Vector sum_down(int64_t features, const Term& term) {
  Vector total{};
  for (int64_t first = 0; first < features; first += kRun) {
    const int64_t last = first + kRun < features ? first + kRun : features;
    Vector run{};
    for (int64_t i = first; i < last; ++i) run += term(i);
    total += run;
  }
  return total;
}

template <class Body>
BERTX_INLINE void for_token_vectors(Range cols, const Body& body) {
  for_vectors(cols.last - cols.first, [&](auto access, int64_t offset) { body(access, cols.first + offset); });
}

}  // namespace

void layer_norm(ConstMatrix x, const float* gamma, const float* beta, double eps, Matrix y, float* mean, float* rstd,
                int64_t features, Range cols) {
  const float inverse = (float)(1.0 / (double)features);
  for_token_vectors(cols, [&](auto access, int64_t t) {
    const float* const from = x.data + t;
    const Vector m = sum_down(features, [&](int64_t i) { return access.load(from + i * x.stride); }) * inverse;
    const Vector variance = inverse * sum_down(features, [&](int64_t i) {
                              const Vector d = access.load(from + i * x.stride) - m;
                              return d * d;
                            });
    Vector r;
    for (int lane = 0; lane < kLanes; ++lane) r[lane] = (float)(1.0 / __builtin_sqrt((double)variance[lane] + eps));
    access.store(mean + t, m);
    access.store(rstd + t, r);
    for (int64_t i = 0; i < features; ++i) {
      const Vector normalized = (access.load(from + i * x.stride) - m) * r;
      access.store(y.data + i * y.stride + t, normalized * gamma[i] + beta[i]);
    }
  });
}

// With x̂ = (x - mean) rstd and g = dy gamma, per token:  dx = rstd (g - mean(g) - x̂ mean(g x̂))
void layer_norm_grad(ConstMatrix x, const float* gamma, const float* mean, const float* rstd, ConstMatrix dy, Matrix dx,
                     int64_t features, Range cols) {
  const float inverse = (float)(1.0 / (double)features);
  for_token_vectors(cols, [&](auto access, int64_t t) {
    const Vector m = access.load(mean + t), r = access.load(rstd + t);
    const auto normalized = [&](int64_t i) { return (access.load(x.data + i * x.stride + t) - m) * r; };
    const auto gradient = [&](int64_t i) { return access.load(dy.data + i * dy.stride + t) * gamma[i]; };
    const Vector mean_g = inverse * sum_down(features, gradient);
    const Vector mean_gx = inverse * sum_down(features, [&](int64_t i) { return gradient(i) * normalized(i); });
    for (int64_t i = 0; i < features; ++i) {
      access.store(dx.data + i * dx.stride + t, r * (gradient(i) - mean_g - normalized(i) * mean_gx));
    }
  });
}

void layer_norm_param_grad(ConstMatrix x, const float* mean, const float* rstd, ConstMatrix dy, float* dgamma,
                           float* dbeta, Range rows, int64_t cols) {
  for (int64_t row = rows.first; row < rows.last; ++row) {
    LongSum gamma, beta;
    for_vectors(cols, [&](auto access, int64_t t) {
      const Vector g = access.load(dy.data + row * dy.stride + t);
      const Vector centred = access.load(x.data + row * x.stride + t) - access.load(mean + t);
      gamma.add(g * (centred * access.load(rstd + t)));
      beta.add(g);
    });
    if (dgamma != nullptr) dgamma[row] = (float)(dgamma[row] + gamma.sum());
    if (dbeta != nullptr) dbeta[row] = (float)(dbeta[row] + beta.sum());
  }
}

}  // namespace bertx::cpu::BERTX_ISA_NAMESPACE
