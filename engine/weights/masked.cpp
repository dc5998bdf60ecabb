#include "bertx/weight.h"
#include "weights/count.h"

namespace bertx {

MaskedWeight::MaskedWeight(Backend& backend, std::shared_ptr<Parameter> w, bool with_scores, double first_score)
    : w_(std::move(w)) {
  const Tensor t = w_->tensor();
  mask_ = make_storage(backend, t.rows, t.cols, DType::u8);
  backend.fill(mask_.tensor, 1.0);
  effective_ = make_storage(backend, t.rows, t.cols, t.dtype);
  if (with_scores) {
    scores_ = std::make_unique<Parameter>();
    scores_->value = make_storage(backend, t.rows, t.cols, t.dtype);
    scores_->decay = false;
    backend.fill(scores_->tensor(), first_score);
  }
  refresh(backend);
}

// y [out, T] = activation((W∘M) x [in, T] + bias) + residual
void MaskedWeight::apply(Exec& exec, Tensor x, Tensor y, const Epilogue& epilogue) const {
  exec.backend.gemm(Trans::no, Trans::no, effective_.tensor, x, y, Write::overwrite);
  apply_epilogue(exec.backend, epilogue, y);
}

// G [out, in] = dy xᵀ; dW += M∘G; dS += W∘G; dx = (W∘M)ᵀ dy
void MaskedWeight::apply_grad(Exec& exec, Tensor x, Tensor dy, Tensor dx, Write write) {
  const Tensor dw = w_->gradient(), dscores = scores_ ? scores_->gradient() : Tensor{};
  if (!dw.empty() || !dscores.empty()) {
    const Arena::Mark mark = exec.arena.mark();
    const Tensor g = exec.take(out(), in());
    exec.backend.gemm(Trans::no, Trans::yes, dy, x, g, Write::overwrite);
    exec.backend.mask_grad(g, w_->tensor(), mask_.tensor, dw, dscores);
    exec.arena.rewind(mark);
  }
  if (!dx.empty()) exec.backend.gemm(Trans::yes, Trans::no, effective_.tensor, dy, dx, write);
}

void MaskedWeight::visit(const std::string& path, const Visit& parameter) {
  parameter(path, *w_);
  if (scores_) parameter(path + ".scores", *scores_);
}

void MaskedWeight::structure(const std::string& path, const VisitStructure& part) { part(path + ".mask", mask_); }

void MaskedWeight::refresh(Backend& backend) { backend.mask_apply(w_->tensor(), mask_.tensor, effective_.tensor); }

void MaskedWeight::materialize(Backend& backend, Tensor out_matrix) const {
  backend.mask_apply(w_->tensor(), mask_.tensor, out_matrix);
}

std::int64_t MaskedWeight::nonzeros(Backend& backend) const { return count_nonzeros(backend, mask_.tensor); }

}  // namespace bertx
