// AdamW, norms and masks: long runs of elements, bound by memory, one pass each.
#include "backend/cpu/kernels.h"
#include "backend/cpu/vector_math.h"

namespace bertx::cpu::BERTX_ISA_NAMESPACE {

//   m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g²
//   w = decay w - rate m / (sqrt(v) root_scale + eps)
// Ordinary stores: what is written was read just before, so that its lines are in the cache and streaming past it would
// save nothing.
void adamw(const AdamWFactors& factors, float* value, float* gradient, float* first, float* second, int64_t count) {
  const AdamWFactors f = factors;
  const auto update = [&](auto access, int64_t i, Vector g) {
    const Vector m = f.beta1 * access.load(first + i) + f.one_minus_beta1 * g;
    const Vector v = f.beta2 * access.load(second + i) + f.one_minus_beta2 * (g * g);
    const Vector w = f.decay * access.load(value + i) - f.rate * m / (square_root(v) * f.root_scale + f.eps);
    access.store(first + i, m);
    access.store(second + i, v);
    access.store(value + i, w);
  };
  if (gradient != nullptr) {
    for_vectors(count, [&](auto access, int64_t i) {
      const Vector g = access.load(gradient + i) * f.gradient_scale;
      access.store(gradient + i, Vector{});
      update(access, i, g);
    });
  } else if (first != nullptr) {
    for_vectors(count, [&](auto access, int64_t i) { update(access, i, Vector{}); });
  } else {
    for_vectors(count, [&](auto access, int64_t i) { access.store(value + i, f.decay * access.load(value + i)); });
  }
}

double sum_of_squares(const float* x, int64_t count) {
  LongSum sum;
  for_vectors(count, [&](auto access, int64_t i) {
    const Vector v = access.load(x + i);
    sum.add(v * v);
  });
  return sum.sum();
}

void mask_apply(const float* w, const uint8_t* mask, float* __restrict out, int64_t count) {
  for (int64_t i = 0; i < count; ++i) out[i] = mask[i] != 0 ? w[i] : 0.0f;
}

void mask_grad(const float* g, const float* w, const uint8_t* mask, float* __restrict dw, float* __restrict dscores,
               int64_t count) {
  if (dw != nullptr) {
    for (int64_t i = 0; i < count; ++i) dw[i] = mask[i] != 0 ? dw[i] + g[i] : dw[i];
  }
  if (dscores != nullptr) {
    for (int64_t i = 0; i < count; ++i) dscores[i] += w[i] * g[i];
  }
}

double sigmoid_penalty(const float* scores, float scale, float* dscores, int64_t count) {
  LongSum sum;
  for_vectors(count, [&](auto access, int64_t i) {
    const Vector x = access.load(scores + i), e = exp(-abs(x)), quotient = 1.0f / (1.0f + e);
    const Vector sigmoid = x > 0.0f ? quotient : e * quotient;
    // Lanes past the end hold sigmoid(0) and must not count.
    const int32_t left = count - i < kLanes ? (int32_t)(count - i) : (int32_t)kLanes;
    sum.add(lane_numbers() < left ? sigmoid : Vector{});
    if (dscores != nullptr) access.store(dscores + i, access.load(dscores + i) + scale * (e * quotient * quotient));
  });
  return sum.sum();
}

}  // namespace bertx::cpu::BERTX_ISA_NAMESPACE
