// LayerNorm of more features than threads keep in registers, and of as many tokens as change its blocks; every result
// is compared.
#include "scene.h"

namespace bertx::test {
namespace {

using WideNorms = CudaTest;

TEST_F(WideNorms, AgreeWithTheReference) {
  const auto backend = make_checked_backend(make_cuda(), make_reference_backend());
  for (const auto& [features, tokens] : {std::pair{1024, 9}, {1025, 9}, {3, 2048}, {40, 2051}, {1025, 2048}}) {
    SCOPED_TRACE(text(features, " x ", tokens));
    Scene s(*backend, 3, 10);
    const Tensor x = s.matrix(features, tokens), y = s.output(features, tokens), mean = s.output(1, tokens),
                 rstd = s.output(1, tokens), gamma = s.vector(features);
    backend->layer_norm(x, gamma, s.vector(features), 1e-12, y, mean, rstd);
    s.trust(y);
    const Tensor dx = s.output(features, tokens);
    backend->layer_norm_grad(x, gamma, mean, rstd, s.matrix(features, tokens), dx, s.vector(features),
                             s.vector(features));
    s.trust(dx);
  }
}

}  // namespace
}  // namespace bertx::test
