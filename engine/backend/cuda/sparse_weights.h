// Sparse weights for inference: one CSR matrix on the device and the forms in which the kernels of sparse/cuda take it.
#pragma once

#include <memory>
#include <vector>

#include "backend/cuda/sparse_arrays.h"
#include "backend/cuda/tuner.h"
#include "bertx/sparse/csr.h"

namespace bertx::cuda {

/// A matrix of its own on the device, in the type of the products, and on the host for those who make other forms of
/// it.
struct SparseMatrix {
  SparseMatrix(Device& device, const CsrPattern& pattern, Tensor values, bool bf16);
  std::size_t bytes() const { return starts.bytes + columns.bytes + order.bytes + numbers.bytes; }
  sparse::CsrView<float> on_host() const {
    return {csr.rows, csr.cols, host_starts.data(), host_columns.data(), host_values.data()};
  }

  Device& device;
  std::vector<std::int32_t> host_starts, host_columns;
  std::vector<float> host_values;
  Buffer starts, columns, order, numbers;
  sparse::cuda::Csr csr;
};

/// The forms, that of the rule first.
std::vector<Candidate> sparse_candidates(const std::shared_ptr<const SparseMatrix>& matrix);

}  // namespace bertx::cuda
