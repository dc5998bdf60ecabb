// Tiles of attention in the types of tensor cores, and the registers in which a warp multiplies them.
//
// A warp has 16 tokens of the block's tile (the rows of its products) and goes through tiles of 64 others. All operands
// lie in shared memory as [features, tokens]: what a product sums over features is read transposed, what it sums over
// tokens as it lies. Scores come out of one product as the registers that the next one takes in.
#pragma once

#include "backend/cuda/attention_tiles.cuh"
#include "cuda/numbers.cuh"

namespace bertx::cuda {

constexpr int kWarps = kTile / 16, kMmaThreads = kWarps * kWarp;
constexpr int kBlocks = kTile / 8;  // of 8 columns of a result

using Result = float[kBlocks][4];  // 16 x 64: element [block][e] lies in row_of(e), column 8 block + column_of(e)

__device__ inline int lane_of() { return static_cast<int>(threadIdx.x) % kWarp; }
__device__ inline int row_of(int element) { return lane_of() / 4 + element / 2 * 8; }
__device__ inline int column_of(int element) { return lane_of() % 4 * 2 + element % 2; }
/// The first token of this warp in its tile.
__device__ inline int own_tokens() { return static_cast<int>(threadIdx.x) / kWarp * 16; }

__device__ inline float read(float x) { return x; }
__device__ inline float read(std::uint16_t bf16) { return sparse::cuda::lower_half(bf16); }
__device__ inline void write(float& place, float x) { place = x; }
__device__ inline void write(std::uint16_t& place, float x) { place = bf16_bits(x); }

/// Calls put(row, column, low, high) for pairs of rows [row, row_end), columns [column, column_end) of x in a tile
/// [kTile, kTile]; 0 outside of them
template <class Source, class Put>
__device__ inline void for_pairs(Source x, std::int64_t row, std::int64_t row_end, std::int64_t column,
                                 std::int64_t column_end, const Put& put) {
  for (int i = static_cast<int>(threadIdx.x); i < kTile * kTile / 2; i += kMmaThreads) {
    const int down = i / (kTile / 2), across = i % (kTile / 2) * 2;
    const std::int64_t r = row + down, c = column + across;
    const auto* const from = x.data + r * x.stride + c;
    put(down, across, r < row_end && c < column_end ? read(from[0]) : 0.0f,
        r < row_end && c + 1 < column_end ? read(from[1]) : 0.0f);
  }
}

/// A Bf16Matrix at multiples of 16 bytes, rows included: it is copied asynchronously, 8 numbers at a time.
struct Bf16Vectors {
  static constexpr int kAtOnce = 8;
  std::uint16_t* data;
  std::int64_t stride;
};

template <class T>
constexpr bool kInVectors = false;
template <>
constexpr bool kInVectors<Bf16Vectors> = true;
/// Where loads of tokens from `first` on begin.
template <class Source>
__device__ inline std::int64_t load_begin(std::int64_t first) {
  if constexpr (kInVectors<Source>) return first / Bf16Vectors::kAtOnce * Bf16Vectors::kAtOnce;
  return first;
}

/// Products of bf16 numbers, 16 features or tokens a step.
struct Bf16Cores {
  using Number = std::uint16_t;
  static constexpr int kStep = 16, kSteps = kTile / kStep;
  static constexpr int kPitch = kTile + 8;  // rows of 144 bytes: eight of them meet all banks
  using Left = std::uint32_t[kSteps][4];    // 16 x 64, the rows of a warp

  template <class Source>
  __device__ static void load(Number* tile, Source x, std::int64_t row, std::int64_t row_end, std::int64_t column,
                              std::int64_t column_end) {
    for_pairs(x, row, row_end, column, column_end, [tile](int down, int across, float low, float high) {
      *reinterpret_cast<std::uint32_t*>(tile + down * kPitch + across) = two_bf16(low, high);
    });
  }
  /// The same from a multiple of 8 for `column`; the caller commits and waits.
  __device__ static void load(Number* tile, Bf16Vectors x, std::int64_t row, std::int64_t row_end, std::int64_t column,
                              std::int64_t column_end) {
    constexpr int kAtOnce = Bf16Vectors::kAtOnce, kParts = kTile / kAtOnce, kBytes = kAtOnce * sizeof(Number);
    for (int i = static_cast<int>(threadIdx.x); i < kTile * kParts; i += kMmaThreads) {
      const int down = i / kParts, across = i % kParts * kAtOnce;
      const std::int64_t left = row + down < row_end ? column_end - column - across : 0;
      const int taken = left >= kAtOnce ? kBytes : left > 0 ? static_cast<int>(left * sizeof(Number)) : 0;
      const Number* const from = x.data + (taken > 0 ? (row + down) * x.stride + column + across : 0);
      sparse::cuda::copy_async<kBytes>(tile + down * kPitch + across, from, taken);
    }
  }
  /// The warp's 16 tokens of a tile [features, tokens], as the left side of a sum over features.
  __device__ static void take_left(const Number* tile, int steps, Left& out) {
    const int matrix = lane_of() / 8, row = lane_of() % 8;
    for (int s = 0; s < kSteps; ++s) {
      if (s >= steps) break;
      sparse::cuda::load_matrices<true>(
          out[s], tile + (s * kStep + matrix / 2 * 8 + row) * kPitch + own_tokens() + matrix % 2 * 8);
    }
  }
  /// out [16, 64 tokens] += left [16, features] tile [features, tokens]
  __device__ static void add_over_features(const Left& left, const Number* tile, int steps, Result& out) {
    const int matrix = lane_of() / 8, row = lane_of() % 8;
    for (int s = 0; s < kSteps; ++s) {
      if (s >= steps) break;
      for (int block = 0; block < kBlocks; block += 2) {
        std::uint32_t right[4];
        sparse::cuda::load_matrices<true>(
            right, tile + (s * kStep + matrix % 2 * 8 + row) * kPitch + block * 8 + matrix / 2 * 8);
        sparse::cuda::mma_bf16(out[block], left[s], {right[0], right[1]});
        sparse::cuda::mma_bf16(out[block + 1], left[s], {right[2], right[3]});
      }
    }
  }
  /// out [16, features] += weights [16, 64 tokens] tileᵀ, the tile being [features, tokens]
  __device__ static void add_over_tokens(const Result& weights, const Number* tile, int feature_blocks, Result& out) {
    const int matrix = lane_of() / 8, row = lane_of() % 8;
    for (int s = 0; s < kSteps; ++s) {
      const float(&low)[4] = weights[2 * s];
      const float(&high)[4] = weights[2 * s + 1];
      const std::uint32_t left[4] = {two_bf16(low[0], low[1]), two_bf16(low[2], low[3]), two_bf16(high[0], high[1]),
                                     two_bf16(high[2], high[3])};
      for (int block = 0; block < kBlocks; block += 2) {
        if (block >= feature_blocks) break;
        std::uint32_t right[4];
        sparse::cuda::load_matrices<false>(
            right, tile + (block * 8 + matrix / 2 * 8 + row) * kPitch + s * kStep + matrix % 2 * 8);
        sparse::cuda::mma_bf16(out[block], left, {right[0], right[1]});
        sparse::cuda::mma_bf16(out[block + 1], left, {right[2], right[3]});
      }
    }
  }
};

/// Products of TF32 numbers, 8 features or tokens a step.
struct Tf32Cores {
  using Number = std::uint32_t;
  static constexpr int kStep = 8, kSteps = kTile / kStep;
  static constexpr int kPitch = kTile + 8;  // a row begins 8 banks behind the one before: no two lanes of a load meet
  using Left = std::uint32_t[kSteps][4];

  template <class Source>
  __device__ static void load(Number* tile, Source x, std::int64_t row, std::int64_t row_end, std::int64_t column,
                              std::int64_t column_end) {
    for_pairs(x, row, row_end, column, column_end, [tile](int down, int across, float low, float high) {
      *reinterpret_cast<uint2*>(tile + down * kPitch + across) =
          make_uint2(sparse::cuda::to_tf32(low), sparse::cuda::to_tf32(high));
    });
  }
  __device__ static void take_left(const Number* tile, int steps, Left& out) {
    const int g = lane_of() / 4, q = lane_of() % 4;
    for (int s = 0; s < kSteps; ++s) {
      if (s >= steps) break;
      const Number* const at = tile + (s * kStep + q) * kPitch + own_tokens() + g;
      out[s][0] = at[0], out[s][1] = at[8];
      out[s][2] = at[4 * kPitch], out[s][3] = at[4 * kPitch + 8];
    }
  }
  __device__ static void add_over_features(const Left& left, const Number* tile, int steps, Result& out) {
    const int g = lane_of() / 4, q = lane_of() % 4;
    for (int s = 0; s < kSteps; ++s) {
      if (s >= steps) break;
      for (int block = 0; block < kBlocks; ++block) {
        const Number* const at = tile + (s * kStep + q) * kPitch + block * 8 + g;
        sparse::cuda::mma_tf32(out[block], left[s], {at[0], at[4 * kPitch]});
      }
    }
  }
  // The order in which tokens are summed is free: a step takes them as 0, 2, 4, 6, 1, 3, 5, 7, so that the weights are
  // in the lanes that want them, and the tile's come in pairs.
  __device__ static void add_over_tokens(const Result& weights, const Number* tile, int feature_blocks, Result& out) {
    const int g = lane_of() / 4, q = lane_of() % 4;
    for (int s = 0; s < kSteps; ++s) {
      const float(&w)[4] = weights[s];
      const std::uint32_t left[4] = {sparse::cuda::to_tf32(w[0]), sparse::cuda::to_tf32(w[2]),
                                     sparse::cuda::to_tf32(w[1]), sparse::cuda::to_tf32(w[3])};
      for (int block = 0; block < kBlocks; ++block) {
        if (block >= feature_blocks) break;
        const auto pair = *reinterpret_cast<const uint2*>(tile + (block * 8 + g) * kPitch + s * kStep + 2 * q);
        sparse::cuda::mma_tf32(out[block], left, {pair.x, pair.y});
      }
    }
  }
};

constexpr int kOutPitch = kTile + 1;
/// to [features, tokens] = the block's results [tokens, features], turned in `shared` [kTile, kOutPitch]; a barrier
/// stands before and none behind.
template <class To>
__device__ inline void store_turned(float* shared, const Result& part, To to, std::int64_t row, std::int64_t row_end,
                                    std::int64_t column, std::int64_t column_end) {
  __syncthreads();
  for (int block = 0; block < kBlocks; ++block) {
    for (int e = 0; e < 4; ++e) {
      shared[(block * 8 + column_of(e)) * kOutPitch + own_tokens() + row_of(e)] = part[block][e];
    }
  }
  __syncthreads();
  if constexpr (kInVectors<To>) {
    for (int i = static_cast<int>(threadIdx.x); i < kTile * kTile / 2; i += kMmaThreads) {
      const int down = i / (kTile / 2), across = i % (kTile / 2) * 2;
      const std::int64_t r = row + down, c = column + across;
      if (r >= row_end || c >= column_end) continue;
      const float* const from = shared + down * kOutPitch + across;
      std::uint16_t* const place = to.data + r * to.stride + c;
      if (c + 1 < column_end) {
        *reinterpret_cast<std::uint32_t*>(place) = two_bf16(from[0], from[1]);
      } else {
        *place = bf16_bits(from[0]);
      }
    }
  } else {
    for (int i = static_cast<int>(threadIdx.x); i < kTile * kTile; i += kMmaThreads) {
      const std::int64_t r = row + i / kTile, c = column + i % kTile;
      if (r < row_end && c < column_end) write(to.data[r * to.stride + c], shared[i / kTile * kOutPitch + i % kTile]);
    }
  }
}

/// Over the four lanes that share a row of a result.
__device__ inline float quad_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(kWholeWarp, x, 1));
  return fmaxf(x, __shfl_xor_sync(kWholeWarp, x, 2));
}
__device__ inline float quad_sum(float x) {
  x += __shfl_xor_sync(kWholeWarp, x, 1);
  return x + __shfl_xor_sync(kWholeWarp, x, 2);
}

/// What a block works on.
struct Place {
  std::int64_t head, row, row_end, begin;  ///< features [row, row_end), tokens from begin
  Bounds reach;
  int steps, feature_blocks;
  float scale;
};
template <class Cores>
__device__ inline Place place_of(const Attention& a) {
  const std::int64_t head = blockIdx.y, begin = static_cast<std::int64_t>(blockIdx.x) * kTile;
  const int features = static_cast<int>(a.head_dim);
  return {head,
          head * a.head_dim,
          (head + 1) * a.head_dim,
          begin,
          reach_of(a, begin),
          (features + Cores::kStep - 1) / Cores::kStep,
          (features + 7) / 8,
          1 / sqrtf(static_cast<float>(a.head_dim))};
}
/// The token of a row of this warp.
__device__ inline std::int64_t own_token(const Place& p, int element) {
  return p.begin + own_tokens() + row_of(element);
}
__device__ inline Bounds sequence_of(const Attention& a, std::int64_t token) {
  return token < a.tokens ? bounds_of(a.starts, a.sequences, token) : Bounds{0, 0};
}

}  // namespace bertx::cuda
