#include "bertx/layers.h"

namespace bertx {

// x [in, T] -> y [out, T]
void Linear::forward(Exec& exec, Tensor x, Tensor y) const {
  weight->apply(exec, x, y);
  if (bias) exec.backend.bias_activation(y, bias->tensor(), Activation::none, y);
}

// dy [out, T] -> dx [in, T]
void Linear::backward(Exec& exec, Tensor x, Tensor dy, Tensor dx, Write write) {
  if (bias && !bias->gradient().empty()) exec.backend.bias_grad(dy, bias->gradient());
  weight->apply_grad(exec, x, dy, dx, write);
}

void Linear::visit(const std::string& path, const Visit& parameter) {
  weight->visit(path + ".weight", parameter);
  if (bias) parameter(path + ".bias", *bias);
}

}  // namespace bertx
