// What happens to activations around the products: into token blocks and back, and the residual.
#include "cpu/kernels.h"
#include "cpu/vectors.h"

namespace bertx::sparse::BERTX_ISA_NAMESPACE {

int64_t block_width(int64_t tokens) {
  if (tokens <= 1) return 1;
  if (tokens <= 4) return 4;
  if (tokens <= 8 && kLanes > 8) return 8;
  return (tokens + kLanes - 1) / kLanes * kLanes;
}

void pack_tokens(const float* x, int64_t ldx, int64_t features, int64_t tokens, int64_t width, float* block) {
  const int64_t full = tokens / kLanes * kLanes;
  for (int64_t f = 0; f < features; ++f, x += ldx, block += width) {
    for (int64_t t = 0; t < full; t += kLanes) store(block + t, load<Vector>(x + t));
    for (int64_t t = full; t < tokens; ++t) block[t] = x[t];
    for (int64_t t = tokens; t < width; ++t) block[t] = 0.0f;
  }
}

void unpack_tokens(const float* block, int64_t width, int64_t rows, int64_t tokens, float* y, int64_t ldy) {
  const int64_t full = tokens / kLanes * kLanes;
  for (int64_t r = 0; r < rows; ++r, y += ldy, block += width) {
    for (int64_t t = 0; t < full; t += kLanes) store(y + t, load<Vector>(block + t));
    for (int64_t t = full; t < tokens; ++t) y[t] = block[t];
  }
}

void add(const float* x, int64_t ldx, int64_t rows, int64_t tokens, float* y, int64_t ldy) {
  const int64_t full = tokens / kLanes * kLanes;
  for (int64_t r = 0; r < rows; ++r, x += ldx, y += ldy) {
    for (int64_t t = 0; t < full; t += kLanes) store(y + t, load<Vector>(y + t) + load<Vector>(x + t));
    for (int64_t t = full; t < tokens; ++t) y[t] += x[t];
  }
}

}  // namespace bertx::sparse::BERTX_ISA_NAMESPACE
