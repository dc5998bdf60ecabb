// Rows of tables become columns of activations; columns are picked out and put back. Where several places add to one
// row, one block adds them in the order of the tokens: equal inputs give equal bits, which atomic additions would not.
#include "backend/cuda/device.cuh"

namespace bertx::cuda {
namespace {

constexpr int kTile = 32, kTileRows = 8;  // a block of 32 x 8 threads moves a tile of 32 x 32

// Reads rows of tables, features side by side, and writes columns, tokens side by side, through shared memory.
__global__ void embed_kernel(Tokens tokens, ConstMatrix word, ConstMatrix position, ConstMatrix type, Matrix x,
                             std::int64_t features) {
  __shared__ float tile[kTile][kTile + 1];
  const std::int64_t t0 = static_cast<std::int64_t>(blockIdx.x) * kTile;
  const std::int64_t f0 = static_cast<std::int64_t>(blockIdx.y) * kTile;
  for (int i = static_cast<int>(threadIdx.y); i < kTile; i += kTileRows) {
    const std::int64_t t = t0 + i, f = f0 + threadIdx.x;
    if (t >= tokens.count || f >= features) continue;
    const std::int64_t place = t - bounds_of(tokens.starts, tokens.sequences, t).first;
    float sum = 0;
    if (word.data != nullptr) sum += word.data[tokens.ids[t] * word.stride + f];
    if (position.data != nullptr) sum += position.data[place * position.stride + f];
    if (type.data != nullptr) sum += type.data[tokens.types[t] * type.stride + f];
    tile[i][threadIdx.x] = sum;
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.y); i < kTile; i += kTileRows) {
    const std::int64_t t = t0 + threadIdx.x, f = f0 + i;
    if (t < tokens.count && f < features) x.data[f * x.stride + t] = tile[threadIdx.x][i];
  }
}

__global__ void transposed_kernel(ConstMatrix x, Shape shape, Matrix to) {
  __shared__ float tile[kTile][kTile + 1];
  const std::int64_t column0 = static_cast<std::int64_t>(blockIdx.x) * kTile;
  const std::int64_t row0 = static_cast<std::int64_t>(blockIdx.y) * kTile;
  for (int i = static_cast<int>(threadIdx.y); i < kTile; i += kTileRows) {
    const std::int64_t row = row0 + i, column = column0 + threadIdx.x;
    if (row < shape.rows && column < shape.cols) tile[i][threadIdx.x] = x.data[row * x.stride + column];
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.y); i < kTile; i += kTileRows) {
    const std::int64_t row = row0 + threadIdx.x, column = column0 + i;
    if (row < shape.rows && column < shape.cols) to.data[column * to.stride + row] = tile[threadIdx.x][i];
  }
}

// A thread a place; a block goes together through the places from its own on, tile by tile.
__global__ void occurrences_kernel(const std::int32_t* index, std::int64_t n, std::int32_t* next,
                                   std::uint8_t* repeats) {
  __shared__ std::int32_t tile[kThreads];
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const std::int32_t mine = i < n ? index[i] : -1;
  std::int64_t found = n;
  for (std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kThreads; first < n; first += kThreads) {
    const std::int64_t j = first + threadIdx.x;
    __syncthreads();
    tile[threadIdx.x] = j < n ? index[j] : -2;  // equal to none
    __syncthreads();
    if (found < n || i >= n) continue;
    for (int k = 0; k < kThreads; ++k) {
      if (tile[k] == mine && first + k > i) {
        found = first + k;
        break;
      }
    }
  }
  if (i >= n) return;
  next[i] = static_cast<std::int32_t>(found);
  if (found < n) repeats[found] = 1;  // no other place has the same next one
}

// A block a place; that of a number's first one adds for all of them.
__global__ void embed_rows_grad_kernel(const std::int32_t* index, const std::int32_t* next, const std::uint8_t* repeats,
                                       std::int64_t n, ConstMatrix dx_rows, Matrix table, std::int64_t features) {
  const std::int64_t i = blockIdx.x;
  if (repeats[i] != 0) return;
  float* const row = table.data + index[i] * table.stride;
  for (std::int64_t f = threadIdx.x; f < features; f += blockDim.x) {
    float sum = row[f];
    for (std::int64_t j = i; j < n; j = next[j]) sum += dx_rows.data[j * dx_rows.stride + f];
    row[f] = sum;
  }
}

// A block a position; the sequences in their order.
__global__ void embed_position_grad_kernel(Tokens tokens, ConstMatrix dx_rows, Matrix table, Shape shape) {
  const std::int64_t place = blockIdx.x;
  for (std::int64_t f = threadIdx.x; f < shape.cols; f += blockDim.x) {
    float sum = 0;
    for (std::int64_t b = 0; b < tokens.sequences; ++b) {
      const std::int64_t t = tokens.starts[b] + place;
      if (t < tokens.starts[b + 1]) sum += dx_rows.data[t * dx_rows.stride + f];
    }
    table.data[place * table.stride + f] += sum;
  }
}

// A warp a feature (32 x 8 threads); dx [features, T] is read once a type, of which there are two.
__global__ void embed_type_grad_kernel(Tokens tokens, ConstMatrix dx, Matrix table, Shape shape) {
  const std::int64_t f = static_cast<std::int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  for (std::int64_t type = 0; type < shape.rows; ++type) {
    float sum = 0;
    for (std::int64_t t = threadIdx.x; f < shape.cols && t < tokens.count; t += kWarp) {
      if (tokens.types[t] == type) sum += dx.data[f * dx.stride + t];
    }
    sum = warp_sum(sum);
    if (threadIdx.x == 0 && f < shape.cols) table.data[type * table.stride + f] += sum;
  }
}

template <class From, class To>
__global__ void gather_columns_kernel(From x, const std::int32_t* index, To y, Shape shape) {
  const std::int64_t j = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (j >= shape.cols) return;
  const std::int64_t column = index[j];
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.y) * blockDim.y + threadIdx.y; i < shape.rows;
       i += static_cast<std::int64_t>(gridDim.y) * blockDim.y) {
    y.data[i * y.stride + j] = x.data[i * x.stride + column];
  }
}

__global__ void gather_columns_grad_kernel(ConstMatrix dy, const std::int32_t* index, const std::int32_t* next,
                                           const std::uint8_t* repeats, Matrix dx, Shape shape) {
  const std::int64_t j = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (j >= shape.cols || repeats[j] != 0) return;
  const std::int64_t column = index[j];
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.y) * blockDim.y + threadIdx.y; i < shape.rows;
       i += static_cast<std::int64_t>(gridDim.y) * blockDim.y) {
    float sum = 0;
    for (std::int64_t k = j; k < shape.cols; k = next[k]) sum += dy.data[i * dy.stride + k];
    dx.data[i * dx.stride + column] = sum;
  }
}

dim3 tiles(std::int64_t across, std::int64_t down) {
  return dim3(static_cast<unsigned>(ceil_div(across, kTile)), static_cast<unsigned>(ceil_div(down, kTile)));
}

struct ByColumn {
  dim3 grid, block;
};
ByColumn by_column(Shape shape) {
  const std::int64_t wide = shape.cols >= 32 ? 32 : shape.cols >= 8 ? 8 : 1, high = kThreads / wide;
  return {dim3(static_cast<unsigned>(ceil_div(shape.cols, wide)),
               static_cast<unsigned>(at_most(ceil_div(shape.rows, high), 65535))),
          dim3(static_cast<unsigned>(wide), static_cast<unsigned>(high))};
}

}  // namespace

void embed(Stream stream, const Tokens& tokens, ConstMatrix word, ConstMatrix position, ConstMatrix type, Matrix x,
           std::int64_t features) {
  if (tokens.count <= 0 || features <= 0) return;
  launch(embed_kernel, tiles(tokens.count, features), dim3(kTile, kTileRows), 0, stream, tokens, word, position, type,
         x, features);
}

void occurrences(Stream stream, const std::int32_t* index, std::int64_t n, std::int32_t* next, std::uint8_t* repeats) {
  if (n <= 0) return;
  fill(stream, repeats, n, 1, {1, n}, 0);
  launch(occurrences_kernel, dim3(static_cast<unsigned>(ceil_div(n, kThreads))), dim3(kThreads), 0, stream, index, n,
         next, repeats);
}

void transposed(Stream stream, ConstMatrix x, Shape shape, Matrix to) {
  if (shape.rows <= 0 || shape.cols <= 0) return;
  launch(transposed_kernel, tiles(shape.cols, shape.rows), dim3(kTile, kTileRows), 0, stream, x, shape, to);
}

void embed_rows_grad(Stream stream, const std::int32_t* index, const std::int32_t* next, const std::uint8_t* repeats,
                     std::int64_t n, ConstMatrix dx_rows, Matrix table, std::int64_t features) {
  if (n <= 0) return;
  launch(embed_rows_grad_kernel, dim3(static_cast<unsigned>(n)), dim3(kThreads), 0, stream, index, next, repeats, n,
         dx_rows, table, features);
}

void embed_position_grad(Stream stream, const Tokens& tokens, ConstMatrix dx_rows, Matrix table, Shape table_shape) {
  if (tokens.count <= 0 || table_shape.rows <= 0) return;
  launch(embed_position_grad_kernel, dim3(static_cast<unsigned>(table_shape.rows)), dim3(kThreads), 0, stream, tokens,
         dx_rows, table, table_shape);
}

void embed_type_grad(Stream stream, const Tokens& tokens, ConstMatrix dx, Matrix table, Shape table_shape) {
  if (tokens.count <= 0 || table_shape.cols <= 0) return;
  launch(embed_type_grad_kernel, dim3(static_cast<unsigned>(ceil_div(table_shape.cols, kThreads / kWarp))),
         dim3(kWarp, kThreads / kWarp), 0, stream, tokens, dx, table, table_shape);
}

template <class From, class To>
void gather(Stream stream, From x, const std::int32_t* index, To y, Shape y_shape) {
  if (y_shape.rows <= 0 || y_shape.cols <= 0) return;
  const ByColumn layout = by_column(y_shape);
  launch(gather_columns_kernel<From, To>, layout.grid, layout.block, 0, stream, x, index, y, y_shape);
}
void gather_columns(Stream stream, ConstMatrix x, const std::int32_t* index, Matrix y, Shape y_shape) {
  gather(stream, x, index, y, y_shape);
}
void gather_columns(Stream stream, Bf16Matrix x, const std::int32_t* index, Bf16Matrix y, Shape y_shape) {
  gather(stream, x, index, y, y_shape);
}

void gather_columns_grad(Stream stream, ConstMatrix dy, const std::int32_t* index, const std::int32_t* next,
                         const std::uint8_t* repeats, Matrix dx, Shape dy_shape) {
  if (dy_shape.rows <= 0 || dy_shape.cols <= 0) return;
  const ByColumn layout = by_column(dy_shape);
  launch(gather_columns_grad_kernel, layout.grid, layout.block, 0, stream, dy, index, next, repeats, dx, dy_shape);
}

}  // namespace bertx::cuda
