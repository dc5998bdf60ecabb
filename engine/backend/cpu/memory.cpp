// Memory of the cpu backend is the host's.
#include <omp.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "backend/cpu/cpu.h"
#include "backend/cpu/onednn.h"
#include "bertx/error.h"
#include "bertx/sparse/isa.h"
#include "bertx/sparse/parallel.h"
#include "core/host_memory.h"

namespace bertx {

namespace cpu {

void* scratch_bytes(Scratch kind, std::size_t bytes) {
  thread_local std::array<Buffer, 5> buffers;
  Buffer& buffer = buffers[static_cast<std::size_t>(kind)];
  if (buffer.bytes < bytes || buffer.data == nullptr) {
    buffer = {};  // the old one first: a thread never holds both
    buffer = allocate_host(std::max<std::size_t>(bytes, 4096));
  }
  return buffer.data.get();
}

}  // namespace cpu

std::string CpuBackend::description() const {
  const int threads = omp_get_max_threads();
  return text("cpu: oneDNN ", cpu::onednn_version(), ", ", sparse::active_isa_name(), ", ", threads,
              threads == 1 ? " thread" : " threads",
              options_.products != DType::bf16 ? ""
              : cpu::bf16_products()           ? ", bf16 products"
                                               : ", products rounded to bf16 and computed in f32");
}

Buffer CpuBackend::allocate(std::size_t bytes) { return allocate_host(bytes); }
void CpuBackend::upload(Tensor host, Tensor device) { convert_host(host, device); }
void CpuBackend::download(Tensor device, Tensor host) { convert_host(device, host); }

// Gradients are cleared each step, all parameters of the model: worth all threads, and memset, which does not read
// what it overwrites.
void CpuBackend::fill(Tensor x, double value) {
  if (x.dtype != DType::f32) return fill_host(x, value);
  const float number = static_cast<float>(value);
  const auto fill_run = [&](float* first, std::int64_t count) {
    if (std::bit_cast<std::uint32_t>(number) == 0) {
      std::memset(first, 0, static_cast<std::size_t>(count) * sizeof(float));
    } else {
      std::fill_n(first, count, number);
    }
  };
  if (x.contiguous()) {
    sparse::parallel_ranges(x.size(), cpu::kThreadElements, [&](std::int64_t first, std::int64_t last) {
      fill_run(x.as<float>() + first, last - first);
    });
  } else {
    sparse::parallel_ranges(x.rows, cpu::row_grain(x.cols), [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t i = first; i < last; ++i) fill_run(x.as<float>() + i * x.stride, x.cols);
    });
  }
}

void CpuBackend::copy(Tensor from, Tensor to) {
  assert(from.dtype == to.dtype && from.rows == to.rows && from.cols == to.cols);
  const std::size_t bytes = static_cast<std::size_t>(from.cols) * size_of(from.dtype);
  sparse::parallel_ranges(from.rows, cpu::row_grain(from.cols), [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last && bytes > 0; ++i) {
      std::memcpy(to.row_range(i, 1).data, from.row_range(i, 1).data, bytes);
    }
  });
}

std::unique_ptr<Backend> make_cpu_backend(BackendOptions options) {
  if (options.products != DType::f32 && options.products != DType::bf16) {
    fail(ErrorKind::usage, "cpu backend: products take inputs of f32 or bf16");
  }
  return std::make_unique<CpuBackend>(options);
}

}  // namespace bertx
