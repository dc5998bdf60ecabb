// The fused product of product_cores.cu in the way of Hopper's tensor cores (wgmma; PTX ISA, "Asynchronous warpgroup
// level matrix multiply-accumulate"): four warps together multiply 64 rows by 128 tokens, both from shared memory,
// while they copy and round what comes next.
//
// A block of four such warpgroups makes 256 x 128 of y. The product of a tile is waited for one tile later, so a buffer
// is filled anew two tiles after it was read.
#include "backend/cuda/product_copies.cuh"

namespace bertx::cuda {

/// Activations [64, 128]: two halves of 64 tokens, each in rows of 128 bytes.
struct Halves {
  static constexpr int kParts = 128 * 2 / kPart, kRowBytes = 128, kHalfBytes = 64 * kRowBytes;
  unsigned char* at;

  __device__ __forceinline__ unsigned char* part(int row, int part) const {
    constexpr int kHalf = kParts / 2;
    return Tile<kRowBytes>{at + part / kHalf * kHalfBytes}.part(row, part % kHalf);
  }
};

namespace {

using sparse::cuda::divide_up;

struct Cut {
  static constexpr int kThreads = 512, kRows = 256, kTokens = 128, kDepthBytes = 128;
};
constexpr int kAhead = 2;            // tiles that are on their way
constexpr int kStages = kAhead + 2;  // and one that is read, and one that may still be

template <class Source>
using CopiesOf = Copies<Bf16Product, Source, Cut, Halves, kStages, sizeof(Source) == 4 ? kStages - 1 : kStages>;

template <class Source>
__global__ __launch_bounds__(Cut::kThreads, 1) void warpgroup_kernel(Problem p) {
#ifdef BERTX_WARPGROUPS
  constexpr int kWarpgroup = 128, kGroupRows = 64, kStep = 16, kSteps = Cut::kDepthBytes / 2 / kStep;
  using C = CopiesOf<Source>;
  const std::int64_t id = blockIdx.x;
  C block{p, id % p.row_blocks * Cut::kRows, id / p.row_blocks * Cut::kTokens};
  const int thread = static_cast<int>(threadIdx.x), group = thread / kWarpgroup;
  const int tiles = static_cast<int>(divide_up(p.w.cols, C::kDepth));
  float sums[sparse::cuda::kWarpgroupSums] = {};
  block.template begin<kAhead>(tiles);
#pragma unroll 1
  for (int tile = 0; tile < tiles; ++tile) {
    sparse::cuda::wait_copies<kAhead - 1>();
    sparse::cuda::publish_shared();
    __syncthreads();  // all have this tile, and are through with the one before the last
    const unsigned char* const w = block.weights(tile).at + group * kGroupRows * Halves::kRowBytes;
    const unsigned char* const x = block.activations(tile).at;
    sparse::cuda::begin_warpgroup_products();
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      sparse::cuda::warpgroup_mma_bf16(
          sums, sparse::cuda::warpgroup_rows(w + step * kStep * 2),
          sparse::cuda::warpgroup_columns(x + step * kStep * Halves::kRowBytes, Halves::kHalfBytes));
    }
    sparse::cuda::commit_warpgroup_products();
    block.template prepare_next<kAhead>(tile, tiles);
    sparse::cuda::wait_warpgroup_products<1>(sums);
  }
  sparse::cuda::wait_warpgroup_products<0>(sums);
  const int lane = thread % kWarp, row = group * kGroupRows + thread % kWarpgroup / kWarp * 16 + lane / 4;
#pragma unroll
  for (int i = 0; i < sparse::cuda::kWarpgroupSums; i += 2) {
    const std::int64_t r = block.first_row + row + i % 4 / 2 * 8, t = block.first_token + i / 4 * 8 + lane % 4 * 2;
    if (r < p.w.rows) p.finish.store_two(r, t, p.tokens, sums[i], sums[i + 1]);
  }
#endif
}

template <class Source>
void run(Stream stream, const Problem& p) {
  constexpr auto kKernel = &warpgroup_kernel<Source>;
  constexpr int kShared = CopiesOf<Source>::kShared;
  allow_shared(kKernel, kShared);
  launch(kKernel, dim3(static_cast<unsigned>(p.row_blocks * divide_up(p.tokens, Cut::kTokens))), Cut::kThreads, kShared,
         stream, p);
}

}  // namespace

void product_by_warpgroups(Stream stream, Problem p, bool x_rounded) {
  p.row_blocks = divide_up(p.w.rows, Cut::kRows);
  x_rounded ? run<std::uint16_t>(stream, p) : run<float>(stream, p);
}

}  // namespace bertx::cuda
