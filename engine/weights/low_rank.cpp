#include <cassert>

#include "bertx/weight.h"

namespace bertx {

LowRankWeight::LowRankWeight(std::shared_ptr<LinearWeight> u, std::shared_ptr<LinearWeight> v)
    : u_(std::move(u)), v_(std::move(v)) {
  assert(u_->in() == v_->out());
}

// y [out, T] = activation(U (V x [in, T]) + bias) + residual
void LowRankWeight::apply(Exec& exec, Tensor x, Tensor y, const Epilogue& epilogue) const {
  const Arena::Mark mark = exec.arena.mark();
  const DType type = takes_between_products() ? exec.backend.between_products() : exec.backend.real();
  const Tensor inner = exec.take(rank(), x.cols, type);
  v_->apply(exec, x, inner, {});
  u_->apply(exec, inner, y, epilogue);
  exec.arena.rewind(mark);
}

// V x is made again rather than kept: it costs rank / out of the product that follows.
void LowRankWeight::apply_grad(Exec& exec, Tensor x, Tensor dy, Tensor dx, Write write) {
  const Arena::Mark mark = exec.arena.mark();
  const Tensor inner = exec.take(rank(), x.cols), dinner = exec.take(rank(), x.cols);
  v_->apply(exec, x, inner, {});
  u_->apply_grad(exec, inner, dy, dinner, Write::overwrite);
  v_->apply_grad(exec, x, dinner, dx, write);
  exec.arena.rewind(mark);
}

void LowRankWeight::visit(const std::string& path, const Visit& parameter) {
  u_->visit(path + ".u", parameter);
  v_->visit(path + ".v", parameter);
}

void LowRankWeight::structure(const std::string& path, const VisitStructure& part) {
  u_->structure(path + ".u", part);
  v_->structure(path + ".v", part);
}

void LowRankWeight::refresh(Backend& backend) {
  u_->refresh(backend);
  v_->refresh(backend);
}

void LowRankWeight::prepare(Backend& backend) {
  u_->prepare(backend);
  v_->prepare(backend);
}

void LowRankWeight::prepare_training(Backend& backend) {
  u_->prepare_training(backend);
  v_->prepare_training(backend);
}

void LowRankWeight::materialize(Backend& backend, Tensor out_matrix) const {
  const DType real = backend.real();
  const Storage u = make_storage(backend, out(), rank(), real), v = make_storage(backend, rank(), in(), real);
  u_->materialize(backend, u.tensor);
  v_->materialize(backend, v.tensor);
  backend.gemm(Trans::no, Trans::no, u.tensor, v.tensor, out_matrix, Write::overwrite);
}

}  // namespace bertx
