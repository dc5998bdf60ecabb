// The emulator itself: what it computes is what a device computes, and what a device would not forgive is found.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "cuda/device.cuh"
#include "emulator/emulation.h"
#include "on_device.h"

namespace bertx::sparse::cuda::test {
namespace {

/// Sums of blocks of 256 numbers; without the barrier between its steps where kPlanted.
template <bool kPlanted>
__global__ void block_sums(const float* x, float* sums) {
  __shared__ float shared[256];
  shared[threadIdx.x] = x[blockIdx.x * 256 + threadIdx.x];
  __syncthreads();
  for (unsigned step = 128; step > 0; step /= 2) {
    if (threadIdx.x < step) shared[threadIdx.x] += shared[threadIdx.x + step];
    if (!kPlanted) __syncthreads();
  }
  if (threadIdx.x == 0) sums[blockIdx.x] = shared[0];
}

template <bool kPlanted>
std::vector<float> sums_with_seed(std::uint64_t seed) {
  const Emulation emulation({.seed = seed});
  std::vector<float> x(1024);
  std::iota(x.begin(), x.end(), 0.0f);
  OnDevice<float> from(x), to(4);
  EXPECT_EQ(launch(block_sums<kPlanted>, 4, 256, 0, nullptr, from.data(), to.data()), cudaSuccess);
  return to.values();
}

TEST(Emulator, SumsOverSharedMemory) {
  for (std::uint64_t seed = 0; seed < 3; ++seed) {
    EXPECT_EQ(sums_with_seed<false>(seed), (std::vector<float>{32640, 98176, 163712, 229248}));
  }
}
TEST(Emulator, AMissingBarrierGivesAnotherResult) {
  EXPECT_NE(sums_with_seed<true>(1), (std::vector<float>{32640, 98176, 163712, 229248}));
  EXPECT_EQ(sums_with_seed<true>(1), sums_with_seed<true>(1)) << "the same seed is the same run";
}

__global__ void warp_kernel(int* out) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  int sum = lane;
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xFFFFFFFFu, sum, step);
  int* const mine = out + threadIdx.x * 8;
  mine[0] = sum;
  mine[1] = __shfl_up_sync(0xFFFFFFFFu, lane, 1);
  mine[2] = __shfl_down_sync(0xFFFFFFFFu, lane, 3, 8);
  mine[3] = __shfl_sync(0xFFFFFFFFu, lane, 5, 16);
  mine[4] = static_cast<int>(__ballot_sync(0xFFFFFFFFu, lane % 3 == 0));
  mine[5] = __any_sync(0xFFFFFFFFu, lane == 7) + 2 * __all_sync(0xFFFFFFFFu, lane < 31);
  // Half a warp each, at different places.
  if (lane < 16) {
    mine[6] = __shfl_sync(0x0000FFFFu, lane, 0);
  } else {
    mine[6] = __shfl_sync(0xFFFF0000u, lane, 16);
  }
  mine[7] = __syncthreads_count(lane < 2);
}

TEST(Emulator, LanesExchange) {
  const Emulation emulation({});
  OnDevice<int> out(64 * 8);
  ASSERT_EQ(launch(warp_kernel, 1, 64, 0, nullptr, out.data()), cudaSuccess);
  const std::vector<int> v = out.values();
  for (int t = 0; t < 64; ++t) {
    const int lane = t % 32, *mine = v.data() + t * 8;
    EXPECT_EQ(mine[0], 496);
    EXPECT_EQ(mine[1], lane == 0 ? 0 : lane - 1);
    EXPECT_EQ(mine[2], lane % 8 < 5 ? lane + 3 : lane);
    EXPECT_EQ(mine[3], lane / 16 * 16 + 5);
    EXPECT_EQ(mine[4], 0x49249249);
    EXPECT_EQ(mine[5], 1);
    EXPECT_EQ(mine[6], lane / 16 * 16);
    EXPECT_EQ(mine[7], 4);
  }
}

__global__ void count_kernel(int* count, float* largest) {
  atomicAdd(count, 1);
  atomicMax(largest, static_cast<float>(blockIdx.y * blockDim.x + threadIdx.x));
}
TEST(Emulator, AtomicsCountAllThreadsOfAllBlocks) {
  const Emulation emulation({});
  OnDevice<int> count(std::vector<int>{0});
  OnDevice<float> largest(std::vector<float>{0});
  ASSERT_EQ(launch(count_kernel, dim3(3, 5), dim3(7, 2), 0, nullptr, count.data(), largest.data()), cudaSuccess);
  EXPECT_EQ(count.values()[0], 3 * 5 * 14);
  EXPECT_EQ(largest.values()[0], 34);
}

template <bool kWaits>
__global__ void copy_kernel(const float4* from, float* to) {
  auto* const shared = reinterpret_cast<float4*>(dynamic_shared());
  copy_async<16>(shared + threadIdx.x, from + threadIdx.x, threadIdx.x == 3 ? 4 : 16);
  commit_copies();
  copy_async<16>(shared + 4 + threadIdx.x, from + threadIdx.x);
  commit_copies();
  if (kWaits) wait_copies<1>();
  __syncthreads();
  const auto* const numbers = reinterpret_cast<const float*>(shared);
  for (int i = 0; i < 4; ++i) to[threadIdx.x * 4 + i] = numbers[threadIdx.x * 4 + i];
}
TEST(Emulator, CopiesHaveArrivedOnceTheyAreWaitedFor) {
  const Emulation emulation({});
  std::vector<float> x(16);
  std::iota(x.begin(), x.end(), 1.0f);
  OnDevice<float> from(x), to(16);
  const auto* const fours = reinterpret_cast<const float4*>(from.data());
  ASSERT_EQ(launch(copy_kernel<true>, 1, 4, 128, nullptr, fours, to.data()), cudaSuccess);
  std::vector<float> expected = x;
  expected[13] = expected[14] = expected[15] = 0;
  EXPECT_EQ(to.values(), expected);
  ASSERT_EQ(launch(copy_kernel<false>, 1, 4, 128, nullptr, fours, to.data()), cudaSuccess);
  const std::vector<float> unawaited = to.values();
  const auto missing = std::ranges::count_if(unawaited, [](float value) { return std::isnan(value); });
  EXPECT_GT(missing, 0) << "some are late";
  EXPECT_LT(missing, 16) << "some come at once";
}

/// d [16, 8] = a [16, k] b [k, 8] by the fragments that PTX documents.
__global__ void bf16_kernel(const std::uint16_t* a, const std::uint16_t* b, float* d) {
  const int g = static_cast<int>(threadIdx.x) / 4, q = static_cast<int>(threadIdx.x) % 4;
  const auto pair = [](std::uint16_t low, std::uint16_t high) {
    return std::uint32_t{low} | std::uint32_t{high} << 16;
  };
  const auto from_a = [&](int row, int col) { return pair(a[row * 16 + col], a[row * 16 + col + 1]); };
  const auto from_b = [&](int row) { return pair(b[row * 8 + g], b[(row + 1) * 8 + g]); };
  const std::uint32_t left[4] = {from_a(g, 2 * q), from_a(g + 8, 2 * q), from_a(g, 2 * q + 8),
                                 from_a(g + 8, 2 * q + 8)};
  const std::uint32_t right[2] = {from_b(2 * q), from_b(2 * q + 8)};
  float sums[4] = {};
  mma_bf16(sums, left, right);
  for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + 2 * q + i % 2] = sums[i];
}
/// The same, a by ldmatrix from shared memory, b by its transposed form.
__global__ void ldmatrix_kernel(const std::uint16_t* a, const std::uint16_t* b, float* d) {
  __shared__ __align__(16) std::uint16_t left[16][16];
  __shared__ __align__(16) std::uint16_t right[16][8];
  const int lane = static_cast<int>(threadIdx.x), g = lane / 4, q = lane % 4;
  for (int i = lane; i < 256; i += 32) left[i / 16][i % 16] = a[i];
  for (int i = lane; i < 128; i += 32) right[i / 8][i % 8] = b[i];
  __syncwarp();
  std::uint32_t x[4], y[4];
  load_matrices(x, &left[lane % 16][lane / 16 * 8]);
  load_matrices<true>(y, &right[lane % 16][0]);
  const std::uint32_t first[2] = {y[0], y[1]};
  float sums[4] = {};
  mma_bf16(sums, x, first);
  for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + 2 * q + i % 2] = sums[i];
}
TEST(Emulator, TensorCoresMultiplyAsDocumented) {
  const Emulation emulation({});
  std::mt19937 random(1);
  std::vector<float> a(256), b(128), expected(128);
  std::vector<std::uint16_t> a16, b16;
  for (auto* values : {&a, &b}) {
    for (float& v : *values) v = static_cast<float>(int(random() % 65) - 32) / 8;
  }
  for (const float v : a) a16.push_back(static_cast<std::uint16_t>(__float_as_uint(v) >> 16));
  for (const float v : b) b16.push_back(static_cast<std::uint16_t>(__float_as_uint(v) >> 16));
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 8; ++j) {
      for (int n = 0; n < 16; ++n)
        expected[std::size_t(i * 8 + j)] += a[std::size_t(i * 16 + n)] * b[std::size_t(n * 8 + j)];
    }
  }
  OnDevice<std::uint16_t> left(a16), right(b16);
  OnDevice<float> d(128), e(128);
  ASSERT_EQ(launch(bf16_kernel, 1, 32, 0, nullptr, left.data(), right.data(), d.data()), cudaSuccess);
  ASSERT_EQ(launch(ldmatrix_kernel, 1, 32, 0, nullptr, left.data(), right.data(), e.data()), cudaSuccess);
  EXPECT_EQ(d.values(), expected);
  EXPECT_EQ(e.values(), expected);
}

/// d [16, 8] = a [16, 8] b [8, 8] in TF32.
__global__ void tf32_kernel(const float* a, const float* b, float* d) {
  const int g = static_cast<int>(threadIdx.x) / 4, q = static_cast<int>(threadIdx.x) % 4;
  const std::uint32_t left[4] = {to_tf32(a[g * 8 + q]), to_tf32(a[(g + 8) * 8 + q]), to_tf32(a[g * 8 + q + 4]),
                                 to_tf32(a[(g + 8) * 8 + q + 4])};
  const std::uint32_t right[2] = {to_tf32(b[q * 8 + g]), to_tf32(b[(q + 4) * 8 + g])};
  float sums[4] = {};
  mma_tf32(sums, left, right);
  for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + 2 * q + i % 2] = sums[i];
}
TEST(Emulator, Tf32KeepsTenBits) {
  const Emulation emulation({});
  std::mt19937 random(2);
  std::vector<float> a(128), b(64), expected(128);
  for (auto* values : {&a, &b}) {
    for (float& v : *values) v = static_cast<float>(int(random() % 2049) - 1024) / 64;
  }
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 8; ++j) {
      for (int n = 0; n < 8; ++n)
        expected[std::size_t(i * 8 + j)] += a[std::size_t(i * 8 + n)] * b[std::size_t(n * 8 + j)];
    }
  }
  for (float& v : a) v *= 1 + 0x1p-14f;  // what TF32 does not keep
  OnDevice<float> left(a), right(b), d(128);
  ASSERT_EQ(launch(tf32_kernel, 1, 32, 0, nullptr, left.data(), right.data(), d.data()), cudaSuccess);
  EXPECT_EQ(d.values(), expected);
}

// ---- what a device does not forgive -----------------------------------------------------------------------------

__global__ void early_exit(int) {
  if (threadIdx.x == 0) return;
  __syncthreads();
}
__global__ void two_barriers(int) {
  if (threadIdx.x == 0) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}
__global__ void half_shuffle(int) {
  if (threadIdx.x < 16) __shfl_sync(0xFFFFFFFFu, 1, 20);
}
__global__ void lost_lane(int) {
  if (threadIdx.x == 0) {
    __syncthreads();
  } else {
    __syncwarp();
  }
}
__global__ void unaligned_copy(int) { copy_async<16>(dynamic_shared(), dynamic_shared() + 4); }

TEST(Emulator, NamesWhatIsWrongInAKernel) {
  const std::pair<void (*)(int), const char*> cases[] = {{early_exit, "barrier"},
                                                         {two_barriers, "came to another barrier"},
                                                         {half_shuffle, "takes no part"},
                                                         {lost_lane, "wait for each other"},
                                                         {unaligned_copy, "unaligned"}};
  for (const auto& [kernel, words] : cases) {
    const Emulation emulation({});
    ASSERT_EQ(launch(kernel, 1, 32, 64, nullptr, 0), cudaSuccess);
    ASSERT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure) << words;
    const std::string text = cudaGetErrorString(cudaErrorLaunchFailure);
    EXPECT_NE(text.find(words), std::string::npos) << text;
    EXPECT_NE(text.find(kernel == unaligned_copy ? "device.cuh:" : "emulator_test.cpp:"), std::string::npos) << text;
    EXPECT_NE(launch(kernel, 1, 32, 64, nullptr, 0), cudaSuccess) << "the error stays";
  }
}

}  // namespace
}  // namespace bertx::sparse::cuda::test
