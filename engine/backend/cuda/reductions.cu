// Sums over rows and over whole matrices. All of them add in one order, so that equal inputs give equal bits.
#include "backend/cuda/device.cuh"

namespace bertx::cuda {
namespace {

__global__ void sum_up_kernel(const double* values, std::int64_t n, double* sum) {
  __shared__ double shared[32];
  double mine = 0;
  for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x) mine += values[i];
  const double all = block_sum(mine, shared);
  if (threadIdx.x == 0) *sum = all;
}

// A row a warp (32 x 8 threads), or a row a block (256 x 1).
__global__ void bias_grad_kernel(ConstMatrix dy, float* dbias, Shape shape) {
  __shared__ float shared[32];
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  float mine = 0;
  if (row < shape.rows) {
    for (std::int64_t t = threadIdx.x; t < shape.cols; t += blockDim.x) mine += dy.data[row * dy.stride + t];
  }
  const float sum = blockDim.x == kWarp ? warp_sum(mine) : block_sum(mine, shared);
  if (threadIdx.x == 0 && row < shape.rows) dbias[row] += sum;
}

/// partials [blocks] = Σ body.at(row, column), in double, over the elements of a block
template <class Body>
__global__ void sums(Body body, Shape shape, double* partials) {
  __shared__ double shared[32];
  const std::int64_t across = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  const std::int64_t down = static_cast<std::int64_t>(gridDim.y) * blockDim.y;
  double mine = 0;
  for (std::int64_t row = static_cast<std::int64_t>(blockIdx.y) * blockDim.y + threadIdx.y; row < shape.rows;
       row += down) {
    for (std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; column < shape.cols;
         column += across) {
      mine += body.at(row, column);
    }
  }
  const double sum = block_sum(mine, shared);
  if (thread_of_block() == 0) partials[blockIdx.y * gridDim.x + blockIdx.x] = sum;
}

template <class Body>
void summed(Stream stream, const Body& body, Shape shape, double* partials, double* sum) {
  std::int64_t blocks = 0;
  if (shape.rows > 0 && shape.cols > 0) {
    const Layout layout = layout_of(shape, kMostPartials);
    blocks = static_cast<std::int64_t>(layout.grid.x) * layout.grid.y;
    launch(sums<Body>, layout.grid, layout.block, 0, stream, body, shape, partials);
  }
  sum_up(stream, partials, blocks, sum);
}

__device__ double sigmoid(double x) { return 1 / (1 + exp(-x)); }

struct SigmoidPenalty {
  ConstMatrix scores;
  double scale;
  Matrix dscores;
  __device__ double at(std::int64_t row, std::int64_t column) const {
    const double s = sigmoid(scores.data[row * scores.stride + column]);
    float& gradient = dscores.data[row * dscores.stride + column];
    gradient = static_cast<float>(gradient + scale * s * (1 - s));
    return s;
  }
};

struct SquaredError {
  ConstMatrix logits, targets;
  double factor;
  Matrix dlogits;
  __device__ double at(std::int64_t row, std::int64_t column) const {
    const double difference = static_cast<double>(logits.data[row * logits.stride + column]) -
                              static_cast<double>(targets.data[row * targets.stride + column]);
    if (dlogits.data != nullptr) {
      dlogits.data[row * dlogits.stride + column] = static_cast<float>(factor * difference);
    }
    return difference * difference;
  }
};

// -y log σ(x) - (1 - y) log(1 - σ(x)) = max(x, 0) - x y + log(1 + exp(-|x|))
struct SigmoidCrossEntropy {
  ConstMatrix logits, targets;
  double factor;
  Matrix dlogits;
  __device__ double at(std::int64_t row, std::int64_t column) const {
    const double x = logits.data[row * logits.stride + column], y = targets.data[row * targets.stride + column];
    if (dlogits.data != nullptr) {
      dlogits.data[row * dlogits.stride + column] = static_cast<float>(factor * (sigmoid(x) - y));
    }
    return (x > 0 ? x : 0.0) - x * y + log1p(exp(-fabs(x)));
  }
};

}  // namespace

void sum_up(Stream stream, const double* values, std::int64_t n, double* sum) {
  launch(sum_up_kernel, dim3(1), dim3(kThreads), 0, stream, values, n, sum);
}

void bias_grad(Stream stream, ConstMatrix dy, float* dbias, Shape shape) {
  if (shape.rows <= 0 || shape.cols <= 0) return;
  const dim3 block = shape.cols <= 1024 ? dim3(kWarp, kThreads / kWarp) : dim3(kThreads, 1);
  const dim3 grid(static_cast<unsigned>(ceil_div(shape.rows, block.y)));
  launch(bias_grad_kernel, grid, block, 0, stream, dy, dbias, shape);
}

void sigmoid_penalty(Stream stream, ConstMatrix scores, double scale, Matrix dscores, Shape shape, double* partials,
                     double* sum) {
  summed(stream, SigmoidPenalty{scores, scale, dscores}, shape, partials, sum);
}

void squared_error(Stream stream, ConstMatrix logits, ConstMatrix targets, double factor, Matrix dlogits, Shape shape,
                   double* partials, double* sum) {
  summed(stream, SquaredError{logits, targets, factor, dlogits}, shape, partials, sum);
}

void sigmoid_cross_entropy(Stream stream, ConstMatrix logits, ConstMatrix targets, double factor, Matrix dlogits,
                           Shape shape, double* partials, double* sum) {
  summed(stream, SigmoidCrossEntropy{logits, targets, factor, dlogits}, shape, partials, sum);
}

}  // namespace bertx::cuda
