// The one rule for "equal up to rounding": used by the checked backend and by every test that compares numbers.
#pragma once

#include <cmath>

#include "bertx/tensor.h"

namespace bertx {

/// Distance from 1 to the next number of this type; 0 for integers, which must agree exactly.
inline double epsilon(DType type) {
  switch (type) {
    case DType::f64: return 0x1p-52;
    case DType::f32: return 0x1p-23;
    case DType::f16: return 0x1p-10;
    case DType::bf16: return 0x1p-7;
    default: return 0;
  }
}

/// The largest difference that is accepted between a result computed in `type` and the exact one.
/// `magnitude` bounds Σ|a||b|, the sum behind one output element without its signs: by Cauchy-Schwarz the product of
/// the norms of the two operands. Such a sum of n terms errs by at most n · epsilon/2 · Σ|a||b| (Higham, Accuracy and
/// Stability, §3.1); rounding errors having signs of their own, √n · epsilon/2 is what occurs, and twice that is
/// accepted. The constant pays for functions (exp, erf, tanh) that are right to a few units in the last place.
/// The last term admits results below the smallest normal float to be flushed to 0.
inline double tolerance(DType type, std::int64_t n, double magnitude) {
  const double rounding = 4 + std::sqrt(static_cast<double>(n));
  return epsilon(type) * rounding * magnitude + (type == DType::f64 ? 0x1p-1022 : 0x1p-126);
}

/// The same for a product whose factors are rounded to `inputs` first: bf16, or f16, which stands for TF32 and has as
/// many bits behind the point. Rounding to bf16 moves a factor by at most
/// epsilon(bf16) / 2 = 2^-8 of it, so a term of the sum by 2^-7, and the sum by at most 2^-7 Σ|a||b|: a bound that is
/// never exceeded, however the errors' signs fall. (A product of factors that are bf16 numbers already has no such
/// error: tests that want to see finer give it those.) TF32 some hardware cuts off, which moves a factor by all of
/// epsilon(f16).
inline double product_tolerance(DType inputs, DType type, std::int64_t n, double magnitude) {
  const double rounding = inputs == DType::bf16  ? epsilon(DType::bf16)
                          : inputs == DType::f16 ? 2 * epsilon(DType::f16)
                                                 : 0;
  return tolerance(type, n, magnitude) + rounding * magnitude;
}

}  // namespace bertx
