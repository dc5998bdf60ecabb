// What acts on each element alone: threads take ranges of rows.
#include "backend/cpu/cpu.h"
#include "bertx/sparse/parallel.h"

namespace bertx {

namespace {

cpu::Pointwise pointwise(Activation activation) {
  switch (activation) {
    case Activation::none: return cpu::Pointwise::none;
    case Activation::gelu_erf: return cpu::Pointwise::gelu_erf;
    case Activation::gelu_tanh: return cpu::Pointwise::gelu_tanh;
    case Activation::relu: return cpu::Pointwise::relu;
    case Activation::tanh: return cpu::Pointwise::tanh;
  }
  return cpu::Pointwise::none;
}

/// Calls body(range of rows) on all threads for x [F, T].
template <class Body>
void for_rows(Tensor x, const Body& body) {
  if (x.cols == 0) return;
  sparse::parallel_ranges(x.rows, cpu::row_grain(x.cols), [&](std::int64_t first, std::int64_t last) {
    body(cpu::Range{first, last});
  });
}

}  // namespace

// X [F, T] += bias [F, 1]; Y [F, T] = activation(X)
void CpuBackend::bias_activation(Tensor x, Tensor bias, Activation activation, Tensor y) {
  if (activation == Activation::none && bias.empty() && x.data == y.data) return;
  auto* const kernel = cpu::active_kernels().bias_activation;
  for_rows(x, [&](cpu::Range rows) {
    kernel(cpu::matrix(x), cpu::vector(bias), pointwise(activation), cpu::matrix(y), rows, x.cols);
  });
}

// dX [F, T] = dY [F, T] * activation'(X [F, T])
void CpuBackend::activation_grad(Tensor x, Activation activation, Tensor dy, Tensor dx) {
  auto* const kernel = cpu::active_kernels().activation_grad;
  for_rows(x, [&](cpu::Range rows) {
    kernel(cpu::const_matrix(x), pointwise(activation), cpu::const_matrix(dy), cpu::matrix(dx), rows, x.cols);
  });
}

// dbias [F, 1] += row sums of dY [F, T]
void CpuBackend::bias_grad(Tensor dy, Tensor dbias) {
  auto* const kernel = cpu::active_kernels().row_sums;
  for_rows(dy, [&](cpu::Range rows) { kernel(cpu::const_matrix(dy), cpu::vector(dbias), rows, dy.cols); });
}

// Y [F, T] = dropout(Y + bias [F, 1]) + residual [F, T]
void CpuBackend::bias_dropout_residual(Tensor y, Tensor bias, Dropout dropout, Tensor residual) {
  auto* const kernel = cpu::active_kernels().bias_dropout_residual;
  for_rows(y, [&](cpu::Range rows) {
    kernel(cpu::matrix(y), cpu::vector(bias), cpu::dropout_mask(dropout), cpu::const_matrix(residual), rows, y.cols);
  });
}

// Y [F, T] = dropout(X [F, T])
void CpuBackend::dropout(Tensor x, Dropout dropout, Tensor y) {
  if (!dropout.active()) {
    if (x.data != y.data) copy(x, y);
    return;
  }
  auto* const kernel = cpu::active_kernels().apply_dropout;
  for_rows(x, [&](cpu::Range rows) {
    kernel(cpu::const_matrix(x), cpu::dropout_mask(dropout), cpu::matrix(y), rows, x.cols);
  });
}

// Y [F, T] += X [F, T]
void CpuBackend::add(Tensor x, Tensor y) {
  auto* const kernel = cpu::active_kernels().add;
  for_rows(x, [&](cpu::Range rows) { kernel(cpu::const_matrix(x), cpu::matrix(y), rows, x.cols); });
}

}  // namespace bertx
