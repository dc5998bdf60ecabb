#include <cmath>

#include "bertx/error.h"
#include "bertx/model.h"

namespace bertx {

void require_finite(Backend& backend, Model& model, const std::string& where) {
  model.visit([&](const std::string& path, Parameter& p) {
    // One pass at the speed of memory: a NaN or infinity anywhere makes the sum of squares one.
    const Tensor tensor = p.tensor();
    if (tensor.size() == 0 || std::isfinite(backend.sum_of_squares({&tensor, 1}))) return;
    fail(ErrorKind::bad_input, where, ": tensor ", path, ": found a value that is not finite, expected finite weights");
  });
}

}  // namespace bertx
