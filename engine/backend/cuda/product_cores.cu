// Products of prepared weights by tensor cores, in one pass: activations are rounded on their way into shared memory,
// and bias, activation and residual are applied to sums that are still in registers.
//
// A block makes kRows x kTokens of y. Its warps share that out, and where it is small also the depth: then each sums up
// a part, and in the end they add up through shared memory, in one order.
#include "backend/cuda/product_copies.cuh"

namespace bertx::cuda {
namespace {

using sparse::cuda::divide_up;

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

template <class Kind, class Source, class C>
using CopiesOf =
    Copies<Kind, Source, C, Tile<C::kTokens* static_cast<int>(sizeof(typename Kind::Number)), Kind::kPairs>, kStages,
           sizeof(Source) == 4 ? 2 : kStages>;

template <class Kind, class Source, class C>
struct Block : CopiesOf<Kind, Source, C> {
  using Base = CopiesOf<Kind, Source, C>;
  using Base::first_row, Base::first_token, Base::p;
  using typename Base::Activations, typename Base::Weights;
  static constexpr int kStep = 2 * Base::kPartNumbers, kSteps = Base::kDepth / kStep;
  static constexpr int kDown = C::kWarpRows / 16, kColumns = C::kWarpTokens / 8, kSums = kDown * kColumns * 4;
  static_assert(kSteps % C::kParts == 0 && kSums % (2 * C::kParts) == 0);
  static_assert(C::kParts == 1 || kSums * C::kThreads * static_cast<int>(sizeof(float)) <= Base::kShared);
  using Sums = float[kDown][kColumns][4];

  /// sums += what the warp takes of a tile: rows from `row`, tokens from `token`, every C::kParts-th step from `part`
  __device__ __forceinline__ void multiply(int tile, int row, int token, int part, Sums& sums) const {
    const int lane = static_cast<int>(threadIdx.x) % kWarp, matrix = lane / 8;
    const Weights w = this->weights(tile);
    const Activations x = this->activations(tile);
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
  B block{{p, id % p.row_blocks * C::kRows, id / p.row_blocks * C::kTokens}};
  const int warp = static_cast<int>(threadIdx.x) / kWarp, place = warp % C::kPlaces, part = warp / C::kPlaces;
  const int row = place / C::kAcross * C::kWarpRows, token = place % C::kAcross * C::kWarpTokens;
  const int tiles = static_cast<int>(divide_up(p.w.cols, B::kDepth));
  typename B::Sums sums = {};
  constexpr int kAhead = kStages - 1;
  block.template begin<kAhead>(tiles);
#pragma unroll 1
  for (int tile = 0; tile < tiles; ++tile) {
    sparse::cuda::wait_copies<kAhead - 1>();
    __syncthreads();  // all have this tile, and are through with the buffers that are filled now
    block.template prepare_next<kAhead>(tile, tiles);
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
    case ProductCut::warpgroups: return launched(cudaErrorInvalidValue);  // not of all kinds
  }
}

}  // namespace

void product_by_cores(Stream stream, ProductCut cut, const RoundedWeight& w, sparse::cuda::Input x, bool x_rounded,
                      sparse::cuda::Output y, std::int64_t tokens, const sparse::cuda::Epilogue& epilogue) {
  if (w.rows <= 0 || tokens <= 0) return;
  const bool vectors = sparse::cuda::in_vectors(x.data, x.stride, x_rounded ? 2 : 4);
  if (x_rounded && !vectors) return launched(cudaErrorInvalidValue);
  const Problem p{w, x, tokens, 0, vectors, sparse::cuda::finish_of(y, epilogue)};
  if (w.cores == Cores::tf32) return run_in<Tf32Product, float>(stream, cut, p);
  if (cut == ProductCut::warpgroups) return product_by_warpgroups(stream, p, x_rounded);
  if (x_rounded) return run_in<Bf16Product, std::uint16_t>(stream, cut, p);
  run_in<Bf16Product, float>(stream, cut, p);
}

}  // namespace bertx::cuda
