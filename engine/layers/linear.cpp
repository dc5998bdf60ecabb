#include "bertx/layers.h"

namespace bertx {

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
