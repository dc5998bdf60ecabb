// Values moved between a CSR matrix, its transposed index and a dense matrix.
#include "cuda/numbers.cuh"

namespace bertx::sparse::cuda {
namespace {

constexpr int kWarps = kRowThreads / kWarp;

__global__ void permute_kernel(const float* from, const std::int32_t* positions, std::int64_t count, float* to) {
  const std::int64_t n = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (n < count) to[n] = from[positions[n]];
}

/// This warp's row.
__device__ __forceinline__ std::int64_t own_row() {
  return static_cast<std::int64_t>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / kWarp;
}

template <class X>
__global__ void to_dense_kernel(Csr w, X* dense, std::int64_t stride) {
  const std::int64_t row = own_row();
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  if (row >= w.rows) return;  // a whole warp
  for (std::int64_t c = lane; c < w.cols; c += kWarp) dense[row * stride + c] = X{};
  __syncwarp();
  for (std::int32_t n = w.row_start[row] + lane; n < w.row_start[row + 1]; n += kWarp) {
    dense[row * stride + w.columns[n]] = static_cast<const X*>(w.values)[n];
  }
}

__global__ void add_gathered_kernel(Csr pattern, const float* dense, std::int64_t stride, float* values) {
  const std::int64_t row = own_row();
  if (row >= pattern.rows) return;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (std::int32_t n = pattern.row_start[row] + lane; n < pattern.row_start[row + 1]; n += kWarp) {
    values[n] += dense[row * stride + pattern.columns[n]];
  }
}

unsigned row_blocks(const Csr& w) { return static_cast<unsigned>(divide_up(w.rows, kWarps)); }

}  // namespace

int permute(Stream stream, const float* from, const std::int32_t* positions, std::int64_t count, float* to) {
  if (count == 0) return cudaSuccess;
  return launch(permute_kernel, static_cast<unsigned>(divide_up(count, 256)), 256, 0, stream, from, positions, count,
                to);
}

int to_dense(Stream stream, const Csr& w, void* dense, std::int64_t stride) {
  if (w.rows == 0) return cudaSuccess;
  if (w.number == Number::f32) {
    return launch(to_dense_kernel<float>, row_blocks(w), kRowThreads, 0, stream, w, static_cast<float*>(dense), stride);
  }
  return launch(to_dense_kernel<Bf16>, row_blocks(w), kRowThreads, 0, stream, w, static_cast<Bf16*>(dense), stride);
}

int add_gathered(Stream stream, const Csr& pattern, Input dense, float* values) {
  if (pattern.rows == 0) return cudaSuccess;
  return launch(add_gathered_kernel, row_blocks(pattern), kRowThreads, 0, stream, pattern,
                static_cast<const float*>(dense.data), dense.stride, values);
}

}  // namespace bertx::sparse::cuda
