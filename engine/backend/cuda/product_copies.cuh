// How a block of a product gets its tiles of weights and activations into shared memory: weights by asynchronous
// copies, several tiles ahead, and so do activations that are bf16 already; others, which have to be rounded, come
// through registers, one tile ahead.
#pragma once

#include "backend/cuda/product_kinds.cuh"
#include "cuda/numbers.cuh"

namespace bertx::cuda {

using sparse::cuda::kPart, sparse::cuda::Tile;

struct Problem {
  RoundedWeight w;
  sparse::cuda::Input x;
  std::int64_t tokens, row_blocks;
  bool vectors;  ///< rows of x may be read by four
  sparse::cuda::Finish finish;
};

/// By warpgroups (product_warpgroups.cu): of bf16 weights.
void product_by_warpgroups(Stream stream, Problem p, bool x_rounded);

/// Source: what activations come as, float or the kind's own numbers. C: a block's kThreads, kRows, kTokens and
/// kDepthBytes. Activations_: their tile; of both kinds of tiles there are as many as stages, which take turns.
template <class Kind, class Source, class C, class Activations_, int kWeightStages, int kActivationStages>
struct Copies {
  using Number = typename Kind::Number;
  static constexpr bool kRounds = sizeof(Source) == 4;  // float
  static constexpr int kThreads = C::kThreads;
  static constexpr int kSize = sizeof(Number), kPartNumbers = kPart / kSize, kFours = kPartNumbers / 4;
  static constexpr int kDepth = C::kDepthBytes / kSize;
  using Weights = Tile<C::kDepthBytes>;
  using Activations = Activations_;
  static constexpr int kWeightBytes = C::kRows * C::kDepthBytes, kActivationBytes = kDepth * C::kTokens * kSize;
  static constexpr int kShared = kWeightStages * kWeightBytes + kActivationStages * kActivationBytes;
  static constexpr int kOwnParts = kActivationBytes / kPart / kThreads;  // parts of activations a thread carries
  static_assert(kOwnParts * kThreads * kPart == kActivationBytes);

  /// What a thread copies of a tile: one part of every kTogether-th row.
  template <class Tile>
  struct Own {
    static constexpr int kTogether = kThreads / Tile::kParts;
    static_assert(kThreads % Tile::kParts == 0 && kTogether % 8 == 0);
    int row = static_cast<int>(threadIdx.x) / Tile::kParts, part = static_cast<int>(threadIdx.x) % Tile::kParts;
  };
  using OwnWeights = Own<Weights>;
  using OwnActivations = Own<Activations>;

  const Problem& p;
  std::int64_t first_row, first_token;
  OwnWeights own_weights = {};
  OwnActivations own_activations = {};
  // Where the next tile's part begins, and the bytes from one of its rows to the next.
  const char* from_weights = static_cast<const char*>(p.w.numbers) +
                             ((first_row + own_weights.row) * p.w.stride + own_weights.part * kPartNumbers) * kSize;
  const Source* from_activations = static_cast<const Source*>(p.x.data) + own_activations.row * p.x.stride +
                                   first_token + own_activations.part * kPartNumbers;
  float4 carried[kRounds ? kOwnParts : 1][kFours] = {};  // activations that are to be rounded

  __device__ __forceinline__ Weights weights(int tile) const {
    return {sparse::cuda::dynamic_shared() + tile % kWeightStages * kWeightBytes};
  }
  __device__ __forceinline__ Activations activations(int tile) const {
    return {sparse::cuda::dynamic_shared() + kWeightStages * kWeightBytes +
            tile % kActivationStages * kActivationBytes};
  }

  /// Begins to copy columns kDepth * tile and those behind, tile after tile; 0 beyond the matrix.
  __device__ __forceinline__ void fetch_weights(int tile) {
    const Weights to = weights(tile);
    const int left = static_cast<int>(p.w.cols) - tile * kDepth - own_weights.part * kPartNumbers;
    const int inside = left >= kPartNumbers ? kPart : left > 0 ? left * kSize : 0;
#pragma unroll
    for (int i = 0; i < C::kRows / OwnWeights::kTogether; ++i) {
      const int row = own_weights.row + i * OwnWeights::kTogether;
      const int taken = first_row + row < p.w.rows ? inside : 0;
      const char* const from = from_weights + i * OwnWeights::kTogether * kSize * p.w.stride;
      sparse::cuda::copy_async<kPart>(to.part(row, own_weights.part), taken > 0 ? from : p.w.numbers, taken);
    }
    from_weights += C::kDepthBytes;
  }

  /// The same of rows kDepth * tile of x and those behind.
  __device__ __forceinline__ void fetch_activations(int tile) {
    const Activations to = activations(tile);
    const std::int64_t left = p.tokens - first_token - own_activations.part * kPartNumbers;
    const int inside = left >= kPartNumbers ? kPart : left > 0 ? static_cast<int>(left) * kSize : 0;
    const int rows = static_cast<int>(p.w.cols) - tile * kDepth - own_activations.row;
#pragma unroll
    for (int i = 0; i < kOwnParts; ++i) {
      const int taken = i * OwnActivations::kTogether < rows ? inside : 0;
      const Source* const from = from_activations + i * OwnActivations::kTogether * p.x.stride;
      sparse::cuda::copy_async<kPart>(
          to.part(own_activations.row + i * OwnActivations::kTogether, own_activations.part),
          taken > 0 ? static_cast<const void*>(from) : p.x.data, taken);
    }
    from_activations += kDepth * p.x.stride;
  }

  __device__ __forceinline__ float4 four_at(const float* from, std::int64_t left) const {
    if (left <= 0) return make_float4(0, 0, 0, 0);
    if (p.vectors) return *reinterpret_cast<const float4*>(from);
    return make_float4(from[0], left > 1 ? from[1] : 0, left > 2 ? from[2] : 0, left > 3 ? from[3] : 0);
  }
  /// The same into registers, as they are.
  __device__ __forceinline__ void take_activations(int tile) {
    const std::int64_t left = p.tokens - first_token - own_activations.part * kPartNumbers;
    const int rows = static_cast<int>(p.w.cols) - tile * kDepth - own_activations.row;
#pragma unroll
    for (int i = 0; i < kOwnParts; ++i) {
      const bool inside = i * OwnActivations::kTogether < rows;
      const float* const from = from_activations + i * OwnActivations::kTogether * p.x.stride;
#pragma unroll
      for (int four = 0; four < kFours; ++four) {
        carried[i][four] = four_at(from + four * 4, inside ? left - four * 4 : 0);
      }
    }
    from_activations += kDepth * p.x.stride;
  }
  __device__ __forceinline__ void put_activations(int tile) const {
    const Activations to = activations(tile);
#pragma unroll
    for (int i = 0; i < kOwnParts; ++i) {
      const int row = own_activations.row + i * OwnActivations::kTogether;
      *reinterpret_cast<uint4*>(to.part(row, own_activations.part)) = Kind::rounded(carried[i]);
    }
  }

  /// Begins to copy what does not pass through registers, as one group of copies.
  __device__ __forceinline__ void fetch(int tile, int tiles) {
    if (tile < tiles) {
      fetch_weights(tile);
      if constexpr (!kRounds) fetch_activations(tile);
    }
    sparse::cuda::commit_copies();
  }
  /// Before tile 0: of copies kAhead tiles are under way, of activations that are rounded tile 0 lies there.
  template <int kAhead>
  __device__ __forceinline__ void begin(int tiles) {
#pragma unroll
    for (int tile = 0; tile < kAhead; ++tile) fetch(tile, tiles);
    if constexpr (kRounds) {
      take_activations(0);
      put_activations(0);
      if (tiles > 1) take_activations(1);
    }
  }
  /// Beside the product of `tile`: what those that follow need.
  template <int kAhead>
  __device__ __forceinline__ void prepare_next(int tile, int tiles) {
    fetch(tile + kAhead, tiles);
    if constexpr (kRounds) {
      if (tile + 1 < tiles) put_activations(tile + 1);
      if (tile + 2 < tiles) take_activations(tile + 2);
    }
  }
};

}  // namespace bertx::cuda
