// The inner product of attention: C [rows, width] = A [rows, steps] B [steps, width] with C in registers. Only for
// files compiled per instruction set.
#pragma once

#include "backend/cpu/vectors.h"

namespace bertx::cpu::BERTX_ISA_NAMESPACE {
namespace {

// kMostRows x kMostVectors accumulators, a row of B and one broadcast fit the 32 (AVX-512) or 16 registers.
constexpr int kMostRows = 6;
constexpr int kMostVectors = BERTX_VECTOR_BYTES == 64 ? 4 : 2;
constexpr int64_t kMostWidth = kMostVectors * kLanes;

/// A(i, p) = data[i * row_stride + p * step_stride]: either side of a feature-major matrix.
struct Operand {
  const float* data;
  int64_t row_stride, step_stride;
};

/// Where C goes: rows of `cols` valid columns; each column times `scale` where that is not null.
struct Target {
  float* data;
  int64_t stride, cols;
  const float* scale;
  bool add;
};

template <int kRows, int kVectors>
BERTX_INLINE void product_tile(const Operand& a, const float* b, int64_t ldb, int64_t steps, const Target& c) {
  Vector sum[kRows][kVectors] = {};
  const float* at = a.data;
  for (int64_t p = 0; p < steps; ++p, at += a.step_stride, b += ldb) {
    Vector operand[kVectors];
    for (int v = 0; v < kVectors; ++v) operand[v] = load(b + v * kLanes);
    for (int i = 0; i < kRows; ++i) {
      const Vector factor = fill(at[i * a.row_stride]);
      for (int v = 0; v < kVectors; ++v) sum[i][v] += factor * operand[v];
    }
  }
  for (int i = 0; i < kRows; ++i) {
    for (int v = 0; v < kVectors; ++v) {
      float* const to = c.data + i * c.stride + v * kLanes;
      Vector value = sum[i][v];
      if (c.scale != nullptr) value *= load(c.scale + v * kLanes);
      const int64_t left = c.cols - v * kLanes;
      if (left >= kLanes) {
        store(to, c.add ? load(to) + value : value);
      } else if (left > 0) {
        store_partial(to, c.add ? load_partial(to, left) + value : value, left);
      }
    }
  }
}

template <int kVectors>
void product_rows(Operand a, int64_t rows, const float* b, int64_t ldb, int64_t steps, Target c) {
  for (; rows >= kMostRows; rows -= kMostRows) {
    product_tile<kMostRows, kVectors>(a, b, ldb, steps, c);
    a.data += kMostRows * a.row_stride;
    c.data += kMostRows * c.stride;
  }
  switch (rows) {
    case 5: return product_tile<5, kVectors>(a, b, ldb, steps, c);
    case 4: return product_tile<4, kVectors>(a, b, ldb, steps, c);
    case 3: return product_tile<3, kVectors>(a, b, ldb, steps, c);
    case 2: return product_tile<2, kVectors>(a, b, ldb, steps, c);
    case 1: return product_tile<1, kVectors>(a, b, ldb, steps, c);
    default: return;
  }
}

constexpr int64_t round_to_lanes(int64_t count) { return (count + kLanes - 1) / kLanes * kLanes; }

/// C [rows, c.cols] = A [rows, steps] B [steps, c.cols]; B can be read up to whole vectors.
void product(Operand a, int64_t rows, const float* b, int64_t ldb, int64_t steps, Target c) {
  const int64_t width = round_to_lanes(c.cols);
  for (int64_t first = 0; first < width; first += kMostWidth) {
    Target part = c;
    part.data += first;
    part.cols -= first;
    if (c.scale != nullptr) part.scale += first;
    const int64_t vectors = (width - first) / kLanes;
    switch (vectors < kMostVectors ? vectors : kMostVectors) {
      case 1: product_rows<1>(a, rows, b + first, ldb, steps, part); break;
      case 2: product_rows<2>(a, rows, b + first, ldb, steps, part); break;
      case 3:
        if constexpr (kMostVectors > 2) product_rows<3>(a, rows, b + first, ldb, steps, part);
        break;
      default: product_rows<kMostVectors>(a, rows, b + first, ldb, steps, part); break;
    }
  }
}

/// from [rows, cols] -> to [rows, width], width = cols in whole vectors, times factor and filled up with 0
BERTX_INLINE void pack(const float* from, int64_t stride, int64_t rows, int64_t cols, float factor, float* to,
                       int64_t width) {
  for (int64_t i = 0; i < rows; ++i) {
    for_vectors(
        cols, [&](auto access, int64_t t) { store(to + i * width + t, factor * access.load(from + i * stride + t)); });
  }
}

/// from [rows, cols] -> to [cols, rows]; both sides in whole vectors, rows past `rows` are taken as 0.
[[maybe_unused]] void transpose_tile(const float* from, int64_t rows, int64_t cols, float* to, int64_t to_stride) {
  for (int64_t i = 0; i < rows; i += kLanes) {
    for (int64_t j = 0; j < cols; j += kLanes) {
      Vector block[kLanes];
      for (int64_t r = 0; r < kLanes; ++r) block[r] = i + r < rows ? load(from + (i + r) * cols + j) : Vector{};
      transpose(block);
      for (int64_t r = 0; r < kLanes; ++r) store(to + (j + r) * to_stride + i, block[r]);
    }
  }
}

}  // namespace
}  // namespace bertx::cpu::BERTX_ISA_NAMESPACE
