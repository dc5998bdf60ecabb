// What an epilogue leaves to do once the sums, begun with the bias, are complete.
#pragma once

#include "bertx/sparse/spmm.h"
#include "cpu/kernels.h"

namespace bertx::sparse {

/// y [rows, tokens] = activation(y) + residual, for rows [first_row, last_row) and `tokens` tokens from first_token.
inline void finish_rows(const Kernels& kernels, const Epilogue<float>& epilogue, std::int64_t first_row,
                        std::int64_t last_row, std::int64_t first_token, std::int64_t tokens, float* y,
                        std::int64_t ldy) {
  float* const target = y + first_row * ldy + first_token;
  const std::int64_t rows = last_row - first_row;
  if (epilogue.activation != nullptr) epilogue.activation(target, ldy, rows, tokens);
  if (epilogue.residual != nullptr) {
    const std::int64_t stride = epilogue.residual_stride;
    kernels.add(epilogue.residual + first_row * stride + first_token, stride, rows, tokens, target, ldy);
  }
}

}  // namespace bertx::sparse
