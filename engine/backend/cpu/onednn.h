// Dense products by oneDNN, over plain pointers. onednn.cpp is the only file that knows oneDNN.
#pragma once

#include <cstdint>
#include <string>

#include "bertx/tensor.h"

namespace bertx::cpu {

/// An operand: element (i, j) lies at data[i * stride + j]; the product takes its transpose where `transposed`.
struct Factor {
  const void* data;
  std::int64_t stride;
  bool transposed;
  DType type = DType::f32;  ///< or bf16: then of both factors
};

/// C [m, n] = op(A) [m, k] op(B) [k, n]  (+ C), with m, n, k >= 1. Columns of B and C from n up to `writable_cols` are
/// scratch: they may be read and written. Throws Error(out_of_memory) or Error(numeric) with oneDNN's status.
void dense_product(std::int64_t m, std::int64_t n, std::int64_t k, Factor a, Factor b, float* c, std::int64_t ldc,
                   bool add, std::int64_t writable_cols);

/// Whether products of bf16 numbers run here as such: AVX512_BF16, which oneDNN and the active instruction set allow.
bool bf16_products();

/// "2.6.3"
std::string onednn_version();

}  // namespace bertx::cpu
