#include "bertx/weight.h"
#include "weights/count.h"

namespace bertx {

// y [out, T] = activation(W x [in, T] + bias) + residual
void DenseWeight::apply(Exec& exec, Tensor x, Tensor y, const Epilogue& epilogue) const {
  if (prepared_) return exec.backend.apply(*prepared_, x, y, epilogue);
  exec.backend.gemm(Trans::no, Trans::no, w_->tensor(), x, y, Write::overwrite);
  apply_epilogue(exec.backend, epilogue, y);
}

// dW [out, in] += dy [out, T] xᵀ; dx [in, T] = Wᵀ dy
void DenseWeight::apply_grad(Exec& exec, Tensor x, Tensor dy, Tensor dx, Write write) {
  if (!w_->gradient().empty()) {
    exec.backend.gemm(Trans::no, Trans::yes, dy, x, w_->gradient(), Write::add);
  }
  if (!dx.empty()) exec.backend.gemm(Trans::yes, Trans::no, w_->tensor(), dy, dx, write);
}

void DenseWeight::prepare(Backend& backend) {
  if (prepared_) return;
  if (const auto sparse = without_zeros(backend)) {
    sparse->prepare(backend);
    prepared_ = sparse->prepared_weight();
    if (prepared_ && prepared_->kernel() != "dense") return;  // then this matrix itself will do
  }
  prepared_ = backend.prepare_dense(w_->tensor());
}

std::shared_ptr<CsrWeight> DenseWeight::without_zeros(Backend& backend) const {
  constexpr double kSparseMayWin = 0.85;  // of the elements; no sparse product was seen to win above
  if (!zeros_count_) return nullptr;
  const double elements = static_cast<double>(w_->tensor().size());
  if (static_cast<double>(nonzeros(backend)) > kSparseMayWin * elements) return nullptr;
  return CsrWeight::from_dense(backend, w_->tensor());
}

void DenseWeight::materialize(Backend& backend, Tensor out_matrix) const { backend.copy(w_->tensor(), out_matrix); }

std::int64_t DenseWeight::nonzeros(Backend& backend) const { return count_nonzeros(backend, w_->tensor()); }

}  // namespace bertx
