// Matrices multiplied element by element.
#pragma once

#include "bertx/backend.h"

namespace bertx {

/// c += a∘b, all of one shape: what the straight-through gradient of a mask does.
inline void add_product(Backend& backend, Tensor a, Tensor b, Tensor c) { backend.mask_grad(a, b, {}, {}, c); }

/// c = a∘b
inline void set_product(Backend& backend, Tensor a, Tensor b, Tensor c) {
  backend.fill(c, 0.0);
  add_product(backend, a, b, c);
}

}  // namespace bertx
