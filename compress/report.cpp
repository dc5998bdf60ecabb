#include "bertx/compress.h"

namespace bertx::compress {

Report report(Backend& backend, Model& model) {
  Report out;
  out.parameters = model.parameter_count();
  model.visit_linears([&](const std::string& path, Linear& linear) {
    const LinearWeight& w = *linear.weight;
    out.matrices.push_back({path, std::string(w.kind()), w.out(), w.in(), w.nonzeros(backend), w.multiplies()});
    out.encoder_elements += w.out() * w.in();
    out.encoder_nonzeros += out.matrices.back().nonzeros;
  });
  return out;
}

}  // namespace bertx::compress
