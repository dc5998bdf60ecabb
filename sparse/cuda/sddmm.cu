// The weight gradient at the places of a pattern: dvalues[n] += <dy[row(n), :], x[column(n), :]>. A warp keeps a block
// of tokens of its row's dy in registers and meets the rows of x that the pattern names, four at a time, so that their
// sums over the lanes are folded together.
#include "cuda/numbers.cuh"

namespace bertx::sparse::cuda {
namespace {

constexpr int kWarps = kRowThreads / kWarp;
constexpr int kVectorsOfBlock = kGradientTokens / (kWarp * 4);  // four tokens each, of a lane

struct Problem {
  std::int64_t rows, tokens;
  const std::int32_t *row_start, *columns, *order;
  const float *dy, *x;
  std::int64_t dy_stride;
  int x_stride_bytes;
  float* dvalues;
  int parts;  ///< warps that share a row's nonzeros
};

/// Four tokens of a lane in vector v of a block: side by side, or kWarp apart where alignment forbids that.
template <bool kVectors>
struct Lane {
  int lane;
  __device__ __forceinline__ int token(int v, int i) const {
    return kVectors ? v * kWarp * 4 + lane * 4 + i : v * kWarp * 4 + i * kWarp + lane;
  }
  /// With kGuard tokens from `left` on are 0.
  template <bool kGuard>
  __device__ __forceinline__ void load(const float* block, int v, std::int64_t left, float (&to)[4]) const {
    if constexpr (kVectors && !kGuard) {
      load_numbers(block + token(v, 0), to);
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i) to[i] = !kGuard || token(v, i) < left ? block[token(v, i)] : 0.0f;
    }
  }
};

/// Adds the products of one block of tokens to the places [begin, end) of a row.
template <bool kVectors, bool kGuard>
__device__ __forceinline__ void add_block(const Problem& p, std::int64_t row, std::int32_t begin, std::int32_t end,
                                          std::int64_t first, const Lane<kVectors>& lane) {
  const std::int64_t left = p.tokens - first;
  float gradient[kVectorsOfBlock][4];
#pragma unroll
  for (int v = 0; v < kVectorsOfBlock; ++v) {
    lane.template load<kGuard>(p.dy + row * p.dy_stride + first, v, left, gradient[v]);
  }
  for (std::int32_t n = begin; n < end; n += 4) {
    const float* rows_of_x[4];  // behind the last place that of the last, whose sum is not used again
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      rows_of_x[k] = row_of(p.x + first, p.columns[n + k < end ? n + k : end - 1], p.x_stride_bytes);
    }
    float sums[4] = {};
#pragma unroll
    for (int v = 0; v < kVectorsOfBlock; ++v) {
      float x[4][4];
#pragma unroll
      for (int k = 0; k < 4; ++k) lane.template load<kGuard>(rows_of_x[k], v, left, x[k]);
#pragma unroll
      for (int k = 0; k < 4; ++k) {
#pragma unroll
        for (int i = 0; i < 4; ++i) sums[k] += gradient[v][i] * x[k][i];
      }
    }
    const float sum = fold(sums, lane.lane);
    const int k = fold_index<4>(lane.lane);
    if (lane.lane % (kWarp / 4) == 0 && n + k < end) p.dvalues[n + k] += sum;
  }
}

template <bool kVectors>
__global__ __launch_bounds__(kRowThreads, 3) void sddmm_kernel(Problem p) {
  const Lane<kVectors> lane{static_cast<int>(threadIdx.x) % kWarp};
  const std::int64_t place = static_cast<std::int64_t>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / kWarp;
  if (place >= p.rows) return;  // a whole warp
  const std::int64_t row = p.order != nullptr ? p.order[place] : place;
  const std::int32_t start = p.row_start[row], length = p.row_start[row + 1] - start;
  const auto part = static_cast<int>(blockIdx.y);
  const auto begin = static_cast<std::int32_t>(start + static_cast<std::int64_t>(length) * part / p.parts);
  const auto end = static_cast<std::int32_t>(start + static_cast<std::int64_t>(length) * (part + 1) / p.parts);
  std::int64_t first = 0;
  for (; first + kGradientTokens <= p.tokens; first += kGradientTokens) {
    add_block<kVectors, false>(p, row, begin, end, first, lane);
  }
  if (first < p.tokens) add_block<kVectors, true>(p, row, begin, end, first, lane);
}

}  // namespace

int sddmm(Stream stream, const Csr& pattern, Input dy, Input x, std::int64_t tokens, float* dvalues) {
  if (pattern.rows == 0 || pattern.nnz == 0 || tokens == 0) return cudaSuccess;
  if (x.stride * 4 > kMostStrideBytes) return cudaErrorInvalidValue;
  // About 32 nonzeros a warp are enough to make up for reading dy.
  const std::int64_t parts = divide_up(divide_up(pattern.nnz, pattern.rows), 32);
  const Problem p{pattern.rows,
                  tokens,
                  pattern.row_start,
                  pattern.columns,
                  pattern.order,
                  static_cast<const float*>(dy.data),
                  static_cast<const float*>(x.data),
                  dy.stride,
                  static_cast<int>(x.stride * 4),
                  dvalues,
                  static_cast<int>(parts < kMostTokenTiles ? parts : kMostTokenTiles)};
  const dim3 grid(static_cast<unsigned>(divide_up(p.rows, kWarps)), static_cast<unsigned>(p.parts));
  const bool vectors = in_vectors(dy.data, dy.stride, 4) && in_vectors(x.data, x.stride, 4);
  return launch(vectors ? sddmm_kernel<true> : sddmm_kernel<false>, grid, kRowThreads, 0, stream, p);
}

}  // namespace bertx::sparse::cuda
