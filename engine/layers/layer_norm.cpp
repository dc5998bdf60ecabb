#include "bertx/layers.h"

namespace bertx {

// x [F, T] -> y [F, T]
void LayerNorm::forward(Exec& exec, Tensor x, Tensor y, Saved* saved) const {
  if (saved) {
    *saved = {x, exec.take(1, x.cols), exec.take(1, x.cols)};
    exec.backend.layer_norm(x, gamma->tensor(), beta->tensor(), eps, y, saved->mean, saved->rstd);
    return;
  }
  const Arena::Mark mark = exec.arena.mark();
  const Tensor mean = exec.take(1, x.cols), rstd = exec.take(1, x.cols);
  exec.backend.layer_norm(x, gamma->tensor(), beta->tensor(), eps, y, mean, rstd);
  exec.arena.rewind(mark);
}

// dy [F, T] -> dx [F, T], which may be dy
void LayerNorm::backward(Exec& exec, const Saved& saved, Tensor dy, Tensor dx) {
  exec.backend.layer_norm_grad(saved.x, gamma->tensor(), saved.mean, saved.rstd, dy, dx, gamma->gradient(),
                               beta->gradient());
}

void LayerNorm::visit(const std::string& path, const Visit& parameter) {
  parameter(path + ".weight", *gamma);
  parameter(path + ".bias", *beta);
}

}  // namespace bertx
