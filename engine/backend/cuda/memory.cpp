// Memory of the device, and the way there and back.
#include <algorithm>
#include <cstring>

#include "backend/cuda/cuda.h"
#include "core/host_memory.h"

namespace bertx {

namespace {

using cuda::check, cuda::Device;

std::size_t bytes_of(std::int64_t elements, DType dtype) { return static_cast<std::size_t>(elements) * size_of(dtype); }

/// x as few rows as it can be seen as.
Tensor joined(Tensor x) { return x.contiguous() ? view(x.data, 1, x.size(), x.dtype) : x; }

// Calls body(first row, rows, first column, columns) for pieces of at most Staging::kBytes in type `dtype`.
template <class Body>
void for_pieces(Tensor x, DType dtype, const Body& body) {
  const std::int64_t fits = static_cast<std::int64_t>(Device::Staging::kBytes / size_of(dtype));
  const std::int64_t cols = std::min(x.cols, fits),
                     rows = std::max<std::int64_t>(1, fits / std::max<std::int64_t>(1, cols));
  for (std::int64_t row = 0; row < x.rows; row += rows) {
    for (std::int64_t column = 0; column < x.cols; column += cols) {
      body(row, std::min(rows, x.rows - row), column, std::min(cols, x.cols - column));
    }
  }
}

Tensor part_of(Tensor x, std::int64_t row, std::int64_t rows, std::int64_t column, std::int64_t columns) {
  return x.row_range(row, rows).col_range(column, columns);
}

/// A copy in one piece that is not worth the way through pinned memory: the ids of a batch, its logits.
bool is_small(Tensor from, Tensor to) {
  constexpr std::size_t kSmall = std::size_t{64} << 10;
  return from.dtype == to.dtype && from.rows == 1 && to.rows == 1 && bytes_of(from.cols, from.dtype) <= kSmall;
}

}  // namespace

void cuda::copy_2d(Tensor from, Tensor to, cudaMemcpyKind kind, cudaStream_t stream) {
  const std::size_t width = bytes_of(from.cols, from.dtype);
  // A matrix of one row may have any stride; the pitch must not be below the width.
  const auto pitch = [&](Tensor x) { return std::max(width, bytes_of(x.stride, x.dtype)); };
  check(cudaMemcpy2DAsync(to.data, pitch(to), from.data, pitch(from), width, static_cast<std::size_t>(from.rows), kind,
                          stream),
        "copy");
}

std::string CudaBackend::description() const {
  return "cuda: " + device_.description() +
         (options_.products == DType::bf16 ? ", bf16 products"
          : options_.tf32                  ? ", TF32 products"
                                           : ", f32 products");
}

Buffer CudaBackend::allocate(std::size_t bytes) { return device_.allocate(bytes); }

// Through pinned memory in two pieces that take turns: one is converted while the other is copied.
void CudaBackend::upload(Tensor host, Tensor device) {
  assert(host.rows == device.rows && host.cols == device.cols);
  if (host.size() == 0) return;
  if (host.contiguous() && device.contiguous()) host = joined(host), device = joined(device);
  if (is_small(host, device)) return device_.write(host.data, device.data, bytes_of(host.cols, host.dtype));
  Device::Staging& staging = device_.staging();
  const std::lock_guard guard(staging.lock);
  int turn = 0;
  for_pieces(device, device.dtype, [&](std::int64_t row, std::int64_t rows, std::int64_t column, std::int64_t columns) {
    check(cudaEventSynchronize(staging.copied[turn]), "copy to the device");
    const Tensor piece = view(staging.piece[turn], rows, columns, device.dtype);
    convert_host(part_of(host, row, rows, column, columns), piece);
    cuda::copy_2d(piece, part_of(device, row, rows, column, columns), cudaMemcpyHostToDevice, device_.stream());
    check(cudaEventRecord(staging.copied[turn], device_.stream()), "event");
    turn = 1 - turn;
  });
}

void CudaBackend::download(Tensor device, Tensor host) {
  assert(host.rows == device.rows && host.cols == device.cols);
  if (host.size() == 0) return;
  if (host.contiguous() && device.contiguous()) host = joined(host), device = joined(device);
  if (is_small(device, host)) return device_.read(device.data, host.data, bytes_of(host.cols, host.dtype));
  Device::Staging& staging = device_.staging();
  const std::lock_guard guard(staging.lock);
  Tensor arriving{}, target{};  // the piece that is being copied while the one before is converted
  int turn = 0;
  const auto take_over = [&] {
    if (arriving.empty()) return;
    check(cudaEventSynchronize(staging.copied[1 - turn]), "copy from the device");
    convert_host(arriving, target);
  };
  for_pieces(device, device.dtype, [&](std::int64_t row, std::int64_t rows, std::int64_t column, std::int64_t columns) {
    check(cudaEventSynchronize(staging.copied[turn]), "copy");  // an upload may still read this piece
    const Tensor piece = view(staging.piece[turn], rows, columns, device.dtype);
    cuda::copy_2d(part_of(device, row, rows, column, columns), piece, cudaMemcpyDeviceToHost, device_.stream());
    check(cudaEventRecord(staging.copied[turn], device_.stream()), "event");
    take_over();
    arriving = piece, target = part_of(host, row, rows, column, columns);
    turn = 1 - turn;
  });
  take_over();
}

void CudaBackend::fill(Tensor x, double value) {
  if (x.size() == 0) return;
  x = joined(x);
  std::uint64_t pattern = 0;  // the element's bits come first: the hosts of CUDA are little-endian
  fill_host(view(&pattern, 1, 1, x.dtype), value);
  if (pattern == 0 && x.rows == 1) {
    check(cudaMemsetAsync(x.data, 0, bytes_of(x.cols, x.dtype), device_.stream()), "fill");
  } else {
    cuda::fill(device_.stream(), x.data, x.stride, static_cast<int>(size_of(x.dtype)), cuda::shape_of(x), pattern);
  }
}

void CudaBackend::copy(Tensor from, Tensor to) {
  assert(from.dtype == to.dtype && from.rows == to.rows && from.cols == to.cols);
  if (from.size() == 0) return;
  if (from.contiguous() && to.contiguous()) from = joined(from), to = joined(to);
  cuda::copy_2d(from, to, cudaMemcpyDeviceToDevice, device_.stream());
}

}  // namespace bertx
