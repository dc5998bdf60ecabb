// Weights for inference: the forms that a matrix can take, from which measured time chooses.
#include "backend/cuda/dense_weights.h"
#include "backend/cuda/sparse_weights.h"
#include "bertx/error.h"

namespace bertx {

namespace {

using cuda::Candidate, cuda::DenseMatrix, cuda::Inputs, cuda::SparseMatrix;

// Densities up to which CSR is taken unmeasured: beside f32 products, and beside those of tensor cores. No GPU has
// confirmed them.
constexpr double kSparseByRule = 0.25, kSparseByRuleBesideTensorCores = 0.05;

/// W with its zeros.
std::shared_ptr<const DenseMatrix> with_zeros(CudaBackend& backend, const SparseMatrix& matrix, Inputs inputs) {
  const sparse::CsrView<float> w = matrix.on_host();
  std::vector<float> dense(static_cast<std::size_t>(w.rows * w.cols));
  sparse::csr_to_dense(w, dense.data(), w.cols);
  const Storage storage = make_storage(backend, w.rows, w.cols, DType::f32);
  backend.upload(view(dense.data(), w.rows, w.cols, DType::f32), storage.tensor);
  return std::make_shared<const DenseMatrix>(matrix.device, storage.tensor, inputs);
}

}  // namespace

std::unique_ptr<PreparedWeight> CudaBackend::prepare_csr(const CsrPattern& pattern, Tensor values) {
  const Inputs inputs = dense_inputs();
  const auto matrix = std::make_shared<const SparseMatrix>(device_, pattern, values, inputs == Inputs::bf16);
  std::vector<Candidate> candidates = cuda::sparse_candidates(matrix);
  const double area = static_cast<double>(pattern.rows) * static_cast<double>(pattern.cols);
  if (area > 0) {
    const double limit = inputs == Inputs::f32 ? kSparseByRule : kSparseByRuleBesideTensorCores;
    const bool first = static_cast<double>(pattern.nnz) > limit * area;
    const auto dense =
        cuda::dense_candidates(inputs, [this, matrix, inputs] { return with_zeros(*this, *matrix, inputs); });
    candidates.insert(first ? candidates.begin() : candidates.end(), dense.begin(), dense.end());
  }
  return cuda::tuned_weight(device_, {pattern.rows, pattern.cols, pattern.nnz, std::string(precision_of(*this))},
                            candidates);
}

std::unique_ptr<PreparedWeight> CudaBackend::prepare_dense(Tensor w) {
  const Inputs inputs = dense_inputs();
  // cuBLASLt reads f32 weights as they are; nothing is to be prepared or chosen.
  if (w.size() == 0 || inputs == Inputs::f32 || (inputs == Inputs::tf32 && !tuning_wanted())) return nullptr;
  const auto candidates =
      cuda::dense_candidates(inputs, [&] { return std::make_shared<const DenseMatrix>(device_, w, inputs); });
  const WeightShape shape{w.rows, w.cols, w.size(), text(precision_of(*this), ", dense")};
  auto weight = cuda::tuned_weight(device_, shape, candidates);
  return weight->kernel() == "dense" ? nullptr : std::move(weight);  // a copy that gains nothing
}

void CudaBackend::apply(const PreparedWeight& w, Tensor x, Tensor y, const Epilogue& epilogue) {
  static_cast<const cuda::Weight&>(w).apply(x, y, epilogue);
}

}  // namespace bertx
