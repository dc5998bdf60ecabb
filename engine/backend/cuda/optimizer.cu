// AdamW and the gradient norm over all tensors of a model in one launch: a block takes a piece of a tensor.
#include "backend/cuda/device.cuh"

namespace bertx::cuda {
namespace {

__global__ void squares_kernel(const SumPiece* pieces, double* partials) {
  __shared__ double shared[32];
  const SumPiece piece = pieces[blockIdx.x];
  double mine = 0;
  for (std::int64_t i = threadIdx.x; i < piece.count; i += blockDim.x) {
    const double x = piece.data[i];
    mine += x * x;
  }
  const double sum = block_sum(mine, shared);
  if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

// Decoupled decay: the weight shrinks by rate * decay, apart from the moments. Gradients become 0 as they are read.
__global__ void adamw_kernel(AdamWFactors factors, const AdamWPiece* pieces) {
  const AdamWPiece piece = pieces[blockIdx.x];
  for (std::int64_t i = threadIdx.x; i < piece.count; i += blockDim.x) {
    float w = piece.value[i] * piece.keep;
    if (piece.first_moment != nullptr) {
      float g = 0;
      if (piece.gradient != nullptr) {
        g = piece.gradient[i] * factors.gradient_scale;
        piece.gradient[i] = 0;
      }
      const float m = factors.beta1 * piece.first_moment[i] + factors.one_minus_beta1 * g;
      const float v = factors.beta2 * piece.second_moment[i] + factors.one_minus_beta2 * g * g;
      piece.first_moment[i] = m;
      piece.second_moment[i] = v;
      w -= piece.rate * m / (sqrtf(v) * factors.root_correction + factors.eps);
    }
    piece.value[i] = w;
  }
}

}  // namespace

void squares(Stream stream, const SumPiece* pieces, std::int64_t n, double* partials) {
  if (n <= 0) return;
  launch(squares_kernel, dim3(static_cast<unsigned>(n)), dim3(kThreads), 0, stream, pieces, partials);
}

void adamw(Stream stream, const AdamWFactors& factors, const AdamWPiece* pieces, std::int64_t n) {
  if (n <= 0) return;
  launch(adamw_kernel, dim3(static_cast<unsigned>(n)), dim3(kThreads), 0, stream, factors, pieces);
}

}  // namespace bertx::cuda
