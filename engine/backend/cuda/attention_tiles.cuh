// What the attention kernels share. A block takes kTile tokens of one head, whatever sequences they belong to, and goes
// through the tokens of those sequences in tiles; pairs of tokens of different sequences have no score. So short
// sequences share a tile, long ones are cut, and no list of sequences is needed on the host.
//
// Tiles of activations lie in shared memory as [features, tokens], as in global memory, with kPitch floats a row: rows
// of tokens are read as vectors, and columns of features meet different banks. Features beyond the first kTile are
// chunks: scores sum over all of them, and each chunk of an output is the work of a block of its own.
#pragma once

#include "backend/cuda/device.cuh"

namespace bertx::cuda {

constexpr int kTile = 64;          // queries, keys and features of a tile
constexpr int kPitch = kTile + 4;  // floats of a row of a tile in shared memory
constexpr int kTileFloats = kTile * kPitch;
constexpr int kPart = 4;                                          // a thread's part of a tile: 4 x 4
constexpr int kAttentionThreads = kTile / kPart * kTile / kPart;  // 256

/// Tokens [first, last) that the tokens of a tile beginning at `begin` have scores with.
__device__ inline Bounds reach_of(const std::int32_t* starts, std::int64_t sequences, std::int64_t tokens,
                                  std::int64_t begin) {
  const std::int64_t end = begin + kTile < tokens ? begin + kTile : tokens;
  return {bounds_of(starts, sequences, begin).first, bounds_of(starts, sequences, end - 1).last};
}
__device__ inline Bounds reach_of(const Attention& a, std::int64_t begin) {
  return reach_of(a.starts, a.sequences, a.tokens, begin);
}

/// tile [kTile, kTile] = rows [row, row_end), columns [column, column_end) of x; 0 outside of them
__device__ inline void load_tile(float* tile, ConstMatrix x, std::int64_t row, std::int64_t row_end,
                                 std::int64_t column, std::int64_t column_end) {
  for (int i = static_cast<int>(threadIdx.x); i < kTile * kTile; i += kAttentionThreads) {
    const std::int64_t r = row + i / kTile, c = column + i % kTile;
    tile[i / kTile * kPitch + i % kTile] = r < row_end && c < column_end ? x.data[r * x.stride + c] : 0.0f;
  }
}

/// out [4, 4] += a[d][4 columns from `left`]ᵀ b[d][4 columns from `right`], summed over the features d of two tiles
__device__ inline void add_scores(const float* a, int left, const float* b, int right, int features,
                                  float (&out)[kPart][kPart]) {
  for (int d = 0; d < features; ++d) {
    const Lanes<4> x = load<4>(a + d * kPitch + left), y = load<4>(b + d * kPitch + right);
    for (int i = 0; i < kPart; ++i) {
      for (int j = 0; j < kPart; ++j) out[i][j] += x.v[i] * y.v[j];
    }
  }
}

/// out [4, 4] += Σ_k a[4 features from `feature`][k] weights[k][4 columns from `column`]
__device__ inline void add_mixed(const float* a, int feature, const float* weights, int column, int count,
                                 float (&out)[kPart][kPart]) {
  for (int k = 0; k < count; ++k) {
    const Lanes<4> y = load<4>(weights + k * kPitch + column);
    for (int i = 0; i < kPart; ++i) {
      const float x = a[(feature + i) * kPitch + k];
      for (int j = 0; j < kPart; ++j) out[i][j] += x * y.v[j];
    }
  }
}

/// to [features, tokens] gets a thread's part: rows from `row` below row_end, columns from `column` below column_end
__device__ inline void store_part(Matrix to, std::int64_t row, std::int64_t row_end, std::int64_t column,
                                  std::int64_t column_end, const float (&part)[kPart][kPart]) {
  for (int i = 0; i < kPart; ++i) {
    for (int j = 0; j < kPart; ++j) {
      if (row + i < row_end && column + j < column_end) to.data[(row + i) * to.stride + column + j] = part[i][j];
    }
  }
}

__device__ inline int features_of_chunk(std::int64_t head_dim, std::int64_t chunk) {
  const std::int64_t left = head_dim - chunk * kTile;
  return static_cast<int>(left < kTile ? left : kTile);
}
inline dim3 attention_grid(const Attention& a) {
  return dim3(static_cast<unsigned>(ceil_div(a.tokens, kTile)), static_cast<unsigned>(a.heads),
              static_cast<unsigned>(ceil_div(a.head_dim, kTile)));
}

}  // namespace bertx::cuda
