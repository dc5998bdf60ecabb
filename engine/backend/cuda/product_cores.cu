// Products of prepared weights by tensor cores, in one pass: activations are rounded on their way into shared memory,
// and bias, activation and residual are applied to sums that are still in registers.
//
// A block makes kRows x kTokens of y. Its warps share that out, and where it is small also the depth: then each sums up
// a part, and in the end they add up through shared memory, in one order. Weights come by asynchronous copies, several
// tiles ahead, and so do activations that are bf16 already; others, which have to be rounded, come through registers,
// one tile ahead.
#include "backend/cuda/product_kinds.cuh"
#include "cuda/numbers.cuh"

namespace bertx::cuda {
namespace {

using sparse::cuda::divide_up, sparse::cuda::kPart, sparse::cuda::Tile;

constexpr int kStages = 3;

/// How a product is cut: a block's rows, tokens and bytes of depth, and the rows and tokens of a warp.
template <int kRows_, int kTokens_, int kDepthBytes_, int kWarpRows_, int kWarpTokens_, int kThreads_ = 256>
struct Cut {
  static constexpr int kThreads = kThreads_, kBlocks = 512 / kThreads;  // blocks that a multiprocessor is to hold
  static constexpr int kRows = kRows_, kTokens = kTokens_, kDepthBytes = kDepthBytes_;
  static constexpr int kWarpRows = kWarpRows_, kWarpTokens = kWarpTokens_;
  static constexpr int kAcross = kTokens / kWarpTokens, kPlaces = kRows / kWarpRows * kAcross;  // of warps in y
  static constexpr int kParts = kThreads / kWarp / kPlaces;                                     // of the depth
};
using Largest = Cut<256, 128, 64, 64, 32, 512>;
using Large = Cut<128, 128, 64, 64, 32>;
using Middle = Cut<64, 64, 128, 32, 32>;
using Small = Cut<32, 32, 512, 32, 32>;

struct Problem {
  RoundedWeight w;
  sparse::cuda::Input x;
  std::int64_t tokens, row_blocks;
  bool vectors;  ///< rows of x may be read by four
  sparse::cuda::Finish finish;
};

/// Source: what activations come as, float or the kind's own numbers.
template <class Kind, class Source, class C>
struct Block {
  using Number = typename Kind::Number;
  static constexpr bool kRounds = sizeof(Source) == 4;  // float
  static constexpr int kThreads = C::kThreads, kActivationStages = kRounds ? 2 : kStages;
  static constexpr int kSize = sizeof(Number), kPartNumbers = kPart / kSize, kFours = kPartNumbers / 4;
  static constexpr int kDepth = C::kDepthBytes / kSize, kStep = 2 * kPartNumbers, kSteps = kDepth / kStep;
  using Weights = Tile<C::kDepthBytes>;
  using Activations = Tile<C::kTokens * kSize, Kind::kPairs>;
  static constexpr int kWeightBytes = C::kRows * C::kDepthBytes, kActivationBytes = kDepth * C::kTokens * kSize;
  static constexpr int kShared = kStages * kWeightBytes + kActivationStages * kActivationBytes;
  static constexpr int kOwnParts = kActivationBytes / kPart / kThreads;  // parts of activations a thread carries
  static constexpr int kDown = C::kWarpRows / 16, kColumns = C::kWarpTokens / 8, kSums = kDown * kColumns * 4;
  static_assert(kSteps % C::kParts == 0 && kSums % (2 * C::kParts) == 0 &&
                kOwnParts * kThreads * kPart == kActivationBytes);
  static_assert(C::kParts == 1 || kSums * kThreads * static_cast<int>(sizeof(float)) <= kShared);
  using Sums = float[kDown][kColumns][4];
  using Carried = float4[kOwnParts][kFours];

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

  __device__ __forceinline__ Weights weights(int tile) const {
    return {sparse::cuda::dynamic_shared() + tile % kStages * kWeightBytes};
  }
  __device__ __forceinline__ Activations activations(int tile) const {
    return {sparse::cuda::dynamic_shared() + kStages * kWeightBytes + tile % kActivationStages * kActivationBytes};
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
  __device__ __forceinline__ void take_activations(int tile, Carried& carried) {
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
  __device__ __forceinline__ void put_activations(int tile, const Carried& carried) const {
    const Activations to = activations(tile);
#pragma unroll
    for (int i = 0; i < kOwnParts; ++i) {
      const int row = own_activations.row + i * OwnActivations::kTogether;
      *reinterpret_cast<uint4*>(to.part(row, own_activations.part)) = Kind::rounded(carried[i]);
    }
  }

  /// sums += what the warp takes of a tile: rows from `row`, tokens from `token`, every C::kParts-th step from `part`
  __device__ __forceinline__ void multiply(int tile, int row, int token, int part, Sums& sums) const {
    const int lane = static_cast<int>(threadIdx.x) % kWarp, matrix = lane / 8;
    const Weights w = weights(tile);
    const Activations x = activations(tile);
#pragma unroll 1  // unrolled, registers do not suffice for two blocks a multiprocessor
    for (int s = 0; s < kSteps / C::kParts; ++s) {
      const int step = s * C::kParts + part;
      std::uint32_t left[kDown][4];
#pragma unroll
      for (int m = 0; m < kDown; ++m) {
        load_matrices(left[m], w.part(row + m * 16 + matrix % 2 * 8 + lane % 8, step * 2 + matrix / 2));
      }
#pragma unroll
      for (int n = 0; n < kColumns; n += 2) {
        std::uint32_t right[2][2];
        Kind::take_right(x, step * kStep, token + n * 8, right);
#pragma unroll
        for (int m = 0; m < kDown; ++m) {
          Kind::multiply(sums[m][n], left[m], right[0]);
          Kind::multiply(sums[m][n + 1], left[m], right[1]);
        }
      }
    }
  }

  /// Sums `number` (even) and the one behind it of this lane, which lie side by side in y.
  __device__ __forceinline__ void store(int row, int token, int number, float first, float second) const {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    const std::int64_t r = first_row + row + number / (kColumns * 4) * 16 + lane / 4 + number % 4 / 2 * 8;
    if (r >= p.w.rows) return;
    const std::int64_t t = first_token + token + number / 4 % kColumns * 8 + lane % 4 * 2;
    p.finish.store_two(r, t, p.tokens, first, second);
  }
  /// Adds up the parts of the depth, and stores.
  __device__ __forceinline__ void finish(int place, int part, int row, int token, const Sums& sums) const {
    if constexpr (C::kParts == 1) {
#pragma unroll
      for (int i = 0; i < kSums; i += 2) {
        const float(&four)[4] = sums[i / (kColumns * 4)][i / 4 % kColumns];
        store(row, token, i, four[i % 4], four[i % 4 + 1]);
      }
    } else {
      const int lane = static_cast<int>(threadIdx.x) % kWarp;
      float* const all = reinterpret_cast<float*>(sparse::cuda::dynamic_shared());  // [part][place][number][lane]
      // All are through with the tiles.
      __syncthreads();
#pragma unroll
      for (int i = 0; i < kSums; ++i) {
        all[((part * C::kPlaces + place) * kSums + i) * kWarp + lane] =
            sums[i / (kColumns * 4)][i / 4 % kColumns][i % 4];
      }
      __syncthreads();
      constexpr int kShare = kSums / C::kParts;
#pragma unroll
      for (int i = 0; i < kShare; i += 2) {
        float pair[2] = {0, 0};
#pragma unroll
        for (int other = 0; other < C::kParts; ++other) {
          const float* const from = all + ((other * C::kPlaces + place) * kSums + part * kShare + i) * kWarp + lane;
          pair[0] += from[0];
          pair[1] += from[kWarp];
        }
        store(row, token, part * kShare + i, pair[0], pair[1]);
      }
    }
  }
};

// Grid: blocks of rows, those of the same tokens side by side, so that they share activations in the cache.
template <class Kind, class Source, class C>
__global__ __launch_bounds__(C::kThreads, C::kBlocks) void product_kernel(Problem p) {
  using B = Block<Kind, Source, C>;
  const std::int64_t id = blockIdx.x;
  B block{p, id % p.row_blocks * C::kRows, id / p.row_blocks * C::kTokens};
  const int warp = static_cast<int>(threadIdx.x) / kWarp, place = warp % C::kPlaces, part = warp / C::kPlaces;
  const int row = place / C::kAcross * C::kWarpRows, token = place % C::kAcross * C::kWarpTokens;
  const int tiles = static_cast<int>(divide_up(p.w.cols, B::kDepth));
  typename B::Sums sums = {};
  typename B::Carried carried;
  const auto fetch = [&](int tile) {
    if (tile < tiles) {
      block.fetch_weights(tile);
      if constexpr (!B::kRounds) block.fetch_activations(tile);
    }
    sparse::cuda::commit_copies();
  };
#pragma unroll
  for (int tile = 0; tile < kStages - 1; ++tile) fetch(tile);
  if constexpr (B::kRounds) {
    block.take_activations(0, carried);
    block.put_activations(0, carried);
    if (tiles > 1) block.take_activations(1, carried);
  }
#pragma unroll 1
  for (int tile = 0; tile < tiles; ++tile) {
    sparse::cuda::wait_copies<kStages - 2>();
    __syncthreads();  // all have this tile, and are through with the buffers that are filled now
    fetch(tile + kStages - 1);
    if constexpr (B::kRounds) {
      if (tile + 1 < tiles) block.put_activations(tile + 1, carried);
      if (tile + 2 < tiles) block.take_activations(tile + 2, carried);
    }
    block.multiply(tile, row, token, part, sums);
  }
  block.finish(place, part, row, token, sums);
}

template <class Kind, class Source, class C>
void run(Stream stream, Problem p) {
  constexpr auto kKernel = &product_kernel<Kind, Source, C>;
  constexpr int kShared = Block<Kind, Source, C>::kShared;
  p.row_blocks = divide_up(p.w.rows, C::kRows);
  allow_shared(kKernel, kShared);
  launch(kKernel, dim3(static_cast<unsigned>(p.row_blocks * divide_up(p.tokens, C::kTokens))), C::kThreads, kShared,
         stream, p);
}

template <class Kind, class Source>
void run_in(Stream stream, ProductCut cut, const Problem& p) {
  switch (cut) {
    case ProductCut::largest: return run<Kind, Source, Largest>(stream, p);
    case ProductCut::large: return run<Kind, Source, Large>(stream, p);
    case ProductCut::middle: return run<Kind, Source, Middle>(stream, p);
    case ProductCut::small: return run<Kind, Source, Small>(stream, p);
  }
}

}  // namespace

void product_by_cores(Stream stream, ProductCut cut, const RoundedWeight& w, sparse::cuda::Input x, bool x_rounded,
                      sparse::cuda::Output y, std::int64_t tokens, const sparse::cuda::Epilogue& epilogue) {
  if (w.rows <= 0 || tokens <= 0) return;
  const bool vectors = sparse::cuda::in_vectors(x.data, x.stride, x_rounded ? 2 : 4);
  const Problem p{w, x, tokens, 0, vectors, sparse::cuda::finish_of(y, epilogue)};
  if (w.cores == Cores::tf32) return run_in<Tf32Product, float>(stream, cut, p);
  if (!x_rounded) return run_in<Bf16Product, float>(stream, cut, p);
  if (!vectors) return launched(cudaErrorInvalidValue);
  run_in<Bf16Product, std::uint16_t>(stream, cut, p);
}

}  // namespace bertx::cuda
