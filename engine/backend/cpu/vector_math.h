// Elementary functions on vectors. Only for files compiled per instruction set.
#pragma once

#include "backend/cpu/vectors.h"

namespace bertx::cpu::BERTX_ISA_NAMESPACE {
namespace {

/// exp(x) for x <= 88; relative error under 1e-7. Below -87.3, where results would be subnormal, it is 0; NaN stays
/// NaN.
BERTX_INLINE Vector exp(Vector x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const Vector shifted = x * 1.44269504f + kRound;
  const Vector n = shifted - kRound;
  // ln 2 in two parts, the first short enough that n times it is exact.
  const Vector r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  Vector p = fill(0.0013941267449473264f);  // interpolates exp at the Chebyshev nodes of |r| <= 0.3471: off by 3e-9
  p = p * r + 0.008375253719130959f;
  p = p * r + 0.041666350984059755f;
  p = p * r + 0.1666641398319482f;
  p = p * r + 0.5000000047549108f;
  p = p * r + 1.0000000380615817f;
  p = p * r + 1.0f;
  // The low bits of `shifted` are n: moved into the exponent of 1 they make 2^n.
  const Vector power = (Vector)(((WordVector)shifted << 23) + 0x3F800000u);
  return x < -87.3f ? Vector{} : p * power;
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

/// Of the normal distribution: the part below x, and exp(-x^2 / 2). Absolute error of `below` under 3e-7.
struct Normal {
  Vector below, bell;
};
BERTX_INLINE Normal normal(Vector x) {
  const Vector magnitude = abs(x);
  const Vector bell = exp(-0.5f * x * x);
  // The tail beyond |x| is bell * t P(t - 0.75) with t = 1 / (1 + 0.3 |x|): P interpolates at the Chebyshev nodes of
  // |x| <= 15, off by at most 3e-8 after the multiplication. About 0.75 its terms do not cancel.
  const Vector t = 1.0f / (1.0f + 0.3f * magnitude), u = t - 0.75f;
  Vector p = fill(0.037147265243610825f);
  p = p * u + 0.031923236449433595f;
  p = p * u - 0.07910564561716839f;
  p = p * u - 0.07959649441981857f;
  p = p * u + 0.19686635943637276f;
  p = p * u + 0.5102296832389432f;
  p = p * u + 0.5440546129621968f;
  p = p * u + 0.3293991005600343f;
  const Vector tail = bell * (t * p);
  return {x > 0.0f ? 1.0f - tail : tail, bell};
}

}  // namespace
}  // namespace bertx::cpu::BERTX_ISA_NAMESPACE
