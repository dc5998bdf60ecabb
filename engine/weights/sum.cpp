#include <cassert>

#include "bertx/sum_weight.h"

namespace bertx {

SumWeight::SumWeight(std::shared_ptr<LinearWeight> first, std::shared_ptr<LinearWeight> second)
    : first_(std::move(first)), second_(std::move(second)) {
  assert(first_->out() == second_->out() && first_->in() == second_->in());
}

// y [out, T] = activation(A x [in, T] + B x + bias) + residual. The first product is the residual of the second, so the
// sum costs no pass of its own.
void SumWeight::apply(Exec& exec, Tensor x, Tensor y, const Epilogue& epilogue) const {
  const Arena::Mark mark = exec.arena.mark();
  const Tensor product = exec.take(out(), x.cols);
  if (epilogue.activation == Activation::none) {
    first_->apply(exec, x, product, {{}, Activation::none, epilogue.residual});
    second_->apply(exec, x, y, {epilogue.bias, Activation::none, product});
  } else {  // it acts on the sum
    first_->apply(exec, x, product, {epilogue.bias});
    second_->apply(exec, x, y, {{}, Activation::none, product});
    apply_epilogue(exec.backend, {{}, epilogue.activation, epilogue.residual}, y);
  }
  exec.arena.rewind(mark);
}

// dA += dy xᵀ; dB += dy xᵀ; dx [in, T] = Aᵀ dy + Bᵀ dy
void SumWeight::apply_grad(Exec& exec, Tensor x, Tensor dy, Tensor dx, Write write) {
  first_->apply_grad(exec, x, dy, dx, write);
  second_->apply_grad(exec, x, dy, dx, Write::add);
}

void SumWeight::visit(const std::string& path, const Visit& parameter) {
  first_->visit(path + ".first", parameter);
  second_->visit(path + ".second", parameter);
}

void SumWeight::structure(const std::string& path, const VisitStructure& part) {
  first_->structure(path + ".first", part);
  second_->structure(path + ".second", part);
}

void SumWeight::refresh(Backend& backend) {
  first_->refresh(backend);
  second_->refresh(backend);
}

void SumWeight::prepare(Backend& backend) {
  first_->prepare(backend);
  second_->prepare(backend);
}

void SumWeight::prepare_training(Backend& backend) {
  first_->prepare_training(backend);
  second_->prepare_training(backend);
}

void SumWeight::materialize(Backend& backend, Tensor out_matrix) const {
  const Storage second = make_storage(backend, out(), in(), backend.real());
  first_->materialize(backend, out_matrix);
  second_->materialize(backend, second.tensor);
  backend.add(second.tensor, out_matrix);
}

}  // namespace bertx
