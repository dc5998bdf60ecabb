// Products of bf16 weights where no instruction multiplies bf16 numbers: activations rounded to bf16 but held as
// floats, values widened on their way, float multiply-adds.
#include "cpu/pair_kernels.h"
#include "cpu/vectors.h"

namespace bertx::sparse::BERTX_ISA_NAMESPACE {
namespace {

/// As float_from_bf16(bf16_from_float(value)).
BERTX_INLINE float rounded(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  const uint32_t size = bits & 0x7FFFFFFFu, to_nearest = bits + 0x7FFFu + (bits >> 16 & 1u);
  uint32_t out = size > 0x7F800000u ? bits | 0x400000u : to_nearest;
  out = (size < 0x00800000u ? bits & 0x80000000u : out) & 0xFFFF0000u;
  __builtin_memcpy(&value, &out, sizeof out);
  return value;
}

BERTX_INLINE float widened(uint16_t value) {
  const uint32_t bits = static_cast<uint32_t>(value) << 16;
  float out;
  __builtin_memcpy(&out, &bits, sizeof out);
  return out;
}

struct PairKernel {
  const PairCell& cell;
  const float* x;
  const float* bias;
  bool first;
  float* y;
  int64_t ldy;

  template <class V, int kVectors>
  __attribute__((noinline)) void run() const {
    const uint16_t *row = cell.rows, *pairs = cell.pairs;
    for (int64_t g = 0; g < cell.group_count; ++g) {
      const int64_t length = cell.groups[g].length;
      for (int64_t left = cell.groups[g].count; left > 0;) {
        const int64_t beside = left >= kPairRows ? kPairRows : 1;
        for (int64_t r = 0; r < beside; ++r) {
          segment<V, kVectors>(*row++, pairs + r * kPairWords, length, beside * kPairWords);
        }
        pairs += beside * length * kPairWords;
        left -= beside;
      }
    }
  }

 private:
  template <class V, int kVectors>
  BERTX_INLINE void segment(int64_t row, const uint16_t* pair, int64_t length, int64_t step) const {
    constexpr int64_t lanes = sizeof(V) / 4;
    float* const sums = y + row * ldy;
    V acc[kVectors];
    if (first) {
      for (int v = 0; v < kVectors; ++v) acc[v] = fill<V>(bias ? bias[row] : 0.0f);
    } else {
      for (int v = 0; v < kVectors; ++v) acc[v] = load<V>(sums + v * lanes);
    }
#pragma GCC unroll 2
    for (int64_t n = 0; n < length; ++n, pair += step) {
      add_product(widened(pair[2]), pair[0], x, acc);
      add_product(widened(pair[3]), pair[1], x, acc);
    }
    for (int v = 0; v < kVectors; ++v) store(sums + v * lanes, acc[v]);
  }
};

}  // namespace

int64_t pair_block_width(int64_t tokens) { return block_width(tokens); }

void pack_pair_tokens(const float* x, int64_t ldx, int64_t features, int64_t tokens, int64_t width, void* block) {
  float* to = static_cast<float*>(block);
  for (int64_t f = 0; f < features; ++f, x += ldx, to += width) {
    for (int64_t t = 0; t < tokens; ++t) to[t] = rounded(x[t]);
    for (int64_t t = tokens; t < width; ++t) to[t] = 0.0f;
  }
  for (int64_t t = 0; t < width; ++t) to[t] = 0.0f;
}

void spmm_pair_cell(const PairCell& cell, const void* block, int64_t width, const float* bias, bool first, float* y,
                    int64_t ldy) {
  for_width(width, PairKernel{cell, static_cast<const float*>(block), bias, first, y, ldy});
}

}  // namespace bertx::sparse::BERTX_ISA_NAMESPACE
