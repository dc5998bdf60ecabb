// Dense products by cuBLASLt, over plain pointers. matmul.cpp is the only file that knows its descriptors.
#pragma once

#include "backend/cuda/device.h"

namespace bertx::cuda {

/// What the inputs of a product are taken as: f32 to the last bit; f32 rounded to TF32 (10 bits behind the point) by
/// the tensor cores; bf16 in memory. Sums are f32.
enum class Inputs : int { f32, tf32, bf16 };

/// Element (i, j) of an operand lies at data[i * stride + j]; the product takes its transpose where `transposed`.
struct Factor {
  const void* data;
  std::int64_t stride;
  bool transposed;
};

/// C [m, n] = op(A) [m, k] op(B) [k, n]  (+ C), with m, n, k >= 1. Throws Error(numeric) with cuBLASLt's words.
void dense_product(Device& device, std::int64_t m, std::int64_t n, std::int64_t k, Factor a, Factor b, float* c,
                   std::int64_t ldc, bool add, Inputs inputs);

}  // namespace bertx::cuda
