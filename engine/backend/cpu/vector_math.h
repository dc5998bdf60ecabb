// Elementary functions on vectors. Only for files compiled per instruction set.
#pragma once

#include "backend/cpu/vectors.h"

namespace bertx::cpu::BERTX_ISA_NAMESPACE {
namespace {

/// exp(x) for x <= 88; relative error under 2e-7. Below -87.3, where results would be subnormal, it is 0. NaN stays NaN.
BERTX_INLINE Vector exp(Vector x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const Vector clamped = x < -87.3f ? fill(-87.3f) : x;
  const Vector shifted = clamped * 1.44269504f + kRound;
  const Vector n = shifted - kRound;
  // ln 2 in two parts, the first short enough that n times it is exact.
  const Vector r = (clamped - n * 0.693359375f) + n * 2.12194440e-4f;
  Vector p = fill(1.0f / 5040);  // the series to r^7: |r| <= 0.347 leaves 5e-9
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  // The low bits of `shifted` are n: moved into the exponent they multiply by 2^n.
  const Vector scaled = (Vector)((IntVector)p + (((IntVector)shifted) << 23));
  return x < -87.3f ? Vector{} : x != x ? x : scaled;
}

/// tanh(x); relative error under 4e-7.
BERTX_INLINE Vector tanh(Vector x) {
  const Vector square = x * x, magnitude = abs(x);
  Vector p = fill(62.0f / 2835);  // the series, for |x| < 0.3, where the quotient below would cancel
  p = p * square - 17.0f / 315;
  p = p * square + 2.0f / 15;
  p = p * square - 1.0f / 3;
  const Vector near = x + x * square * p;
  const Vector e = exp(-2.0f * magnitude);
  const Vector far = copy_sign((1.0f - e) / (1.0f + e), x);
  return magnitude < 0.3f ? near : x != x ? x : far;
}

/// Of the normal distribution: the part below x, and exp(-x^2 / 2). Absolute error of `below` under 2e-7.
struct Normal {
  Vector below, bell;
};
BERTX_INLINE Normal normal(Vector x) {
  const Vector magnitude = abs(x);
  const Vector bell = exp(-0.5f * x * x);
  // The tail beyond |x| is bell * t P(t) with t = 1 / (1 + 0.23 |x|): P interpolates at the Chebyshev nodes of
  // |x| <= 15 and is off by at most 2e-8 after the multiplication.
  const Vector t = 1.0f / (1.0f + 0.23f * magnitude);
  Vector p = fill(-0.0751781691828409f);
  p = p * t + 0.2740198165067216f;
  p = p * t - 0.24341687811807008f;
  p = p * t + 0.26082017928252876f;
  p = p * t - 0.004201417146711489f;
  p = p * t + 0.10702142528679326f;
  p = p * t + 0.08902158271941862f;
  p = p * t + 0.09191344059887585f;
  const Vector tail = bell * (t * p);
  return {x > 0.0f ? 1.0f - tail : tail, bell};
}

}  // namespace
}  // namespace bertx::cpu::BERTX_ISA_NAMESPACE
