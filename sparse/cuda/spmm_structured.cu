// The 2:4 product: tensor cores multiply by half of the weights, and pick the activations that meet them. A block makes
// 128 rows of y for 128 or 32 tokens, a warp 32 rows for half of them; tiles of 64 columns come through shared memory
// in three buffers, so that two are on the way while one is used.
#include "cuda/numbers.cuh"
#include "cuda/tile.cuh"

namespace bertx::sparse::cuda {
namespace {

constexpr int kRows = kStructuredRows, kCols = kStructuredColumns, kKept = kCols / 2;
constexpr int kThreads = 256, kStages = 3;
constexpr int kPartNumbers = kPart / 2;

struct Problem {
  Structured w;
  const std::uint16_t* x;
  std::int64_t stride, tokens;
  Finish finish;
};

template <int kTokens>
struct Block {
  using Weights = Tile<kKept * 2>;
  using Activations = Tile<kTokens * 2>;
  static constexpr int kWeightBytes = kRows * kKept * 2, kStageBytes = kWeightBytes + kCols * kTokens * 2;
  static constexpr int kWarpTokens = kTokens / 2, kColumns = kWarpTokens / 8;  // results of a warp, 8 tokens wide

  const Problem& p;

  __device__ __forceinline__ Weights weights(int stage) const { return {dynamic_shared() + stage * kStageBytes}; }
  __device__ __forceinline__ Activations activations(int stage) const {
    return {dynamic_shared() + stage * kStageBytes + kWeightBytes};
  }

  /// Begins to copy what meets columns kCols * step and those behind; beyond the matrix and the tokens it is 0.
  __device__ __forceinline__ void fetch(int step, int stage) const {
    const std::int64_t kept = std::int64_t{p.w.tiles} * kKept;
    const std::uint16_t* const values =
        p.w.values + static_cast<std::int64_t>(blockIdx.x) * kRows * kept + step * kKept;
    const Weights to = weights(stage);
#pragma unroll
    for (int i = static_cast<int>(threadIdx.x); i < kRows * Weights::kParts; i += kThreads) {
      const int row = i / Weights::kParts, part = i % Weights::kParts;
      copy_async<kPart>(to.part(row, part), values + row * kept + part * kPartNumbers);
    }
    const Activations there = activations(stage);
#pragma unroll
    for (int i = static_cast<int>(threadIdx.x); i < kCols * Activations::kParts; i += kThreads) {
      const int row = i / Activations::kParts, part = i % Activations::kParts;
      const std::int64_t column = static_cast<std::int64_t>(step) * kCols + row,
                         token = static_cast<std::int64_t>(blockIdx.y) * kTokens + part * kPartNumbers;
      const std::int64_t left = column < p.w.cols ? p.tokens - token : 0;
      const int taken = left >= kPartNumbers ? kPart : left > 0 ? static_cast<int>(left) * 2 : 0;
      copy_async<kPart>(there.part(row, part), p.x + (taken > 0 ? column * p.stride + token : 0), taken);
    }
  }

  /// sums += what the buffer holds; `places` of its columns 0 … 31 and 32 … 63
  __device__ __forceinline__ void multiply(int stage, int first_row, int first_token, const std::uint32_t (&places)[2],
                                           float (&sums)[2][kColumns][4]) const {
    const int lane = static_cast<int>(threadIdx.x) % kWarp, matrix = lane / 8;
    const Weights w = weights(stage);
    const Activations x = activations(stage);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      std::uint32_t left[2][4];
#pragma unroll
      for (int m = 0; m < 2; ++m) {
        load_matrices(left[m], w.part(first_row + m * 16 + matrix % 2 * 8 + lane % 8, half * 2 + matrix / 2));
      }
#pragma unroll
      for (int n = 0; n < kColumns; ++n) {
        std::uint32_t right[4];
        load_matrices<true>(right, x.part(half * 32 + lane, first_token / 8 + n));
        mma_bf16_structured<0>(sums[0][n], left[0], right, places[half]);
        mma_bf16_structured<1>(sums[1][n], left[1], right, places[half]);
      }
    }
  }
};

template <int kTokens>
__global__ __launch_bounds__(kThreads) void structured_kernel(Problem p) {
  using B = Block<kTokens>;
  const B block{p};
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int first_row = warp / 2 * 32, first_token = warp % 2 * B::kWarpTokens;
  const int steps = p.w.tiles;
  const std::uint32_t* const places =
      p.w.places + (static_cast<std::int64_t>(blockIdx.x) * (kRows / 32) + warp / 2) * steps * 2 * kWarp + lane;
  float sums[2][B::kColumns][4] = {};
#pragma unroll
  for (int step = 0; step < kStages - 1; ++step) {
    if (step < steps) block.fetch(step, step);
    commit_copies();
  }
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    const std::uint32_t here[2] = {places[2 * step * kWarp], places[(2 * step + 1) * kWarp]};
    wait_copies<kStages - 2>();
    __syncthreads();  // all have this step's tiles, and are through with the buffer that is filled now
    if (step + kStages - 1 < steps) block.fetch(step + kStages - 1, (step + kStages - 1) % kStages);
    commit_copies();
    block.multiply(step % kStages, first_row, first_token, here, sums);
  }
#pragma unroll
  for (int m = 0; m < 2; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kRows + first_row + m * 16 + lane / 4 + half * 8;
      if (row >= p.w.rows) continue;
#pragma unroll
      for (int n = 0; n < B::kColumns; ++n) {
        const std::int64_t token = static_cast<std::int64_t>(blockIdx.y) * kTokens + first_token + n * 8 + lane % 4 * 2;
        p.finish.store_two(row, token, p.tokens, sums[m][n][2 * half], sums[m][n][2 * half + 1]);
      }
    }
  }
}

template <int kTokens>
int run(Stream stream, const Problem& p) {
  const std::int64_t tiles = divide_up(p.tokens, kTokens);
  if (tiles > kMostTokenTiles) return cudaErrorInvalidValue;
  constexpr int kShared = kStages * Block<kTokens>::kStageBytes;
  constexpr auto kKernel = &structured_kernel<kTokens>;
  const cudaError_t allowed = cudaFuncSetAttribute(kKernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kShared);
  if (allowed != cudaSuccess) return allowed;
  return launch(kKernel, dim3(static_cast<unsigned>(p.w.panels), static_cast<unsigned>(tiles)), kThreads, kShared,
                stream, p);
}

}  // namespace

int spmm_structured(Stream stream, const Structured& w, Input x, Output y, std::int64_t tokens,
                    const Epilogue& epilogue) {
  if (w.rows == 0 || tokens == 0) return cudaSuccess;
  if (!in_vectors(x.data, x.stride, 2)) return cudaErrorInvalidValue;
  const Problem p{w, static_cast<const std::uint16_t*>(x.data), x.stride, tokens, finish_of(y, epilogue)};
  return tokens <= 32 ? run<32>(stream, p) : run<128>(stream, p);
}

}  // namespace bertx::sparse::cuda
