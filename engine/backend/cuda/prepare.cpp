// Weights for inference: the forms that a matrix can take, from which measured time chooses.
#include "backend/cuda/cuda.h"
#include "backend/cuda/sparse_weights.h"

namespace bertx {

namespace {

using cuda::Candidate, cuda::Device, cuda::SparseMatrix;

// Densities up to which CSR is taken unmeasured: beside f32 products, and beside those of tensor cores. No GPU has
// confirmed them.
constexpr double kSparseByRule = 0.25, kSparseByRuleBesideTensorCores = 0.05;

/// W with its zeros, in f32, by the backend's gemm.
class DenseForm final : public cuda::Weight {
 public:
  DenseForm(CudaBackend& backend, Storage weight) : backend_(backend), weight_(std::move(weight)) {}
  std::string_view kernel() const override { return "dense"; }
  std::size_t bytes() const override { return weight_.buffer.bytes; }
  // Y [rows, T] = activation(W X [cols, T] + bias) + residual
  void apply(Tensor x, Tensor y, const Epilogue& epilogue) const override {
    backend_.gemm(Trans::no, Trans::no, weight_.tensor, x, y, Write::overwrite);
    cuda::finish(Device::get(), epilogue, y);
  }

 private:
  CudaBackend& backend_;
  Storage weight_;
};

Candidate dense_candidate(CudaBackend& backend, std::shared_ptr<const SparseMatrix> matrix) {
  const bool bf16 = backend.products() == DType::bf16;
  return {bf16 ? "dense-bf16" : "dense", [&backend, matrix, bf16]() -> std::unique_ptr<cuda::Weight> {
            const sparse::CsrView<float> w = matrix->on_host();
            std::vector<float> dense(static_cast<std::size_t>(w.rows * w.cols));
            sparse::csr_to_dense(w, dense.data(), w.cols);
            Storage storage = make_storage(backend, w.rows, w.cols, DType::f32);
            backend.upload(view(dense.data(), w.rows, w.cols, DType::f32), storage.tensor);
            if (bf16) return cuda::bf16_weight(storage.tensor);
            return std::make_unique<DenseForm>(backend, std::move(storage));
          }};
}

}  // namespace

std::unique_ptr<PreparedWeight> CudaBackend::prepare_csr(const CsrPattern& pattern, Tensor values) {
  const bool bf16 = options_.products == DType::bf16;
  const auto matrix = std::make_shared<const SparseMatrix>(device_, pattern, values, bf16);
  std::vector<Candidate> candidates = cuda::sparse_candidates(matrix);
  const double area = static_cast<double>(pattern.rows) * static_cast<double>(pattern.cols);
  if (area > 0) {
    const double limit = bf16 || options_.tf32 ? kSparseByRuleBesideTensorCores : kSparseByRule;
    const bool first = static_cast<double>(pattern.nnz) > limit * area;
    candidates.insert(first ? candidates.begin() : candidates.end(), dense_candidate(*this, matrix));
  }
  return cuda::tuned_weight(device_, {pattern.rows, pattern.cols, pattern.nnz, std::string(precision_of(*this))},
                            candidates);
}

// cuBLASLt reads f32 weights as they are; bf16 weights need not be rounded again at each product.
std::unique_ptr<PreparedWeight> CudaBackend::prepare_dense(Tensor w) {
  if (options_.products != DType::bf16 || w.size() == 0) return nullptr;
  return cuda::bf16_weight(w);
}

void CudaBackend::apply(const PreparedWeight& w, Tensor x, Tensor y, const Epilogue& epilogue) {
  static_cast<const cuda::Weight&>(w).apply(x, y, epilogue);
}

}  // namespace bertx
