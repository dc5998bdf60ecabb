// LayerNorm over the features of each token: threads take ranges of tokens, or of features where the sums run along
// the tokens.
#include <algorithm>

#include "backend/cpu/cpu.h"
#include "bertx/sparse/parallel.h"

namespace bertx {

namespace {

/// Calls body(range of tokens) on all threads; ranges begin at whole vectors, so that no two threads share a line.
template <class Body>
void for_tokens(std::int64_t features, std::int64_t tokens, std::int64_t lanes, const Body& body) {
  const std::int64_t vectors = (tokens + lanes - 1) / lanes;
  sparse::parallel_ranges(vectors, cpu::row_grain(features * lanes), [&](std::int64_t first, std::int64_t last) {
    body(cpu::Range{first * lanes, std::min(last * lanes, tokens)});
  });
}

}  // namespace

// Y [F, T] = (X [F, T] - mean [1, T]) * rstd [1, T] * gamma [F, 1] + beta [F, 1]
void CpuBackend::layer_norm(Tensor x, Tensor gamma, Tensor beta, double eps, Tensor y, Tensor mean, Tensor rstd) {
  const cpu::Kernels& kernels = cpu::active_kernels();
  for_tokens(x.rows, x.cols, kernels.lanes, [&](cpu::Range cols) {
    kernels.layer_norm(cpu::const_matrix(x), cpu::vector(gamma), cpu::vector(beta), eps, cpu::matrix(y),
                       cpu::vector(mean), cpu::vector(rstd), x.rows, cols);
  });
}

// dX [F, T] from X, dY [F, T]; dgamma, dbeta [F, 1] +=
void CpuBackend::layer_norm_grad(Tensor x, Tensor gamma, Tensor mean, Tensor rstd, Tensor dy, Tensor dx, Tensor dgamma,
                                 Tensor dbeta) {
  const cpu::Kernels& kernels = cpu::active_kernels();
  if (!dgamma.empty() || !dbeta.empty()) {  // first: dX may take the place of dY
    sparse::parallel_ranges(x.rows, cpu::row_grain(x.cols), [&](std::int64_t first, std::int64_t last) {
      kernels.layer_norm_param_grad(cpu::const_matrix(x), cpu::vector(mean), cpu::vector(rstd), cpu::const_matrix(dy),
                                    cpu::vector(dgamma), cpu::vector(dbeta), {first, last}, x.cols);
    });
  }
  for_tokens(x.rows, x.cols, kernels.lanes, [&](cpu::Range cols) {
    kernels.layer_norm_grad(cpu::const_matrix(x), cpu::vector(gamma), cpu::vector(mean), cpu::vector(rstd),
                            cpu::const_matrix(dy), cpu::matrix(dx), x.rows, cols);
  });
}

}  // namespace bertx
