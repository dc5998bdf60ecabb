// Several linear maps of one input as one product: query, key and value at inference.
#pragma once

#include <memory>
#include <span>

#include "bertx/layers.h"

namespace bertx {

/// The maps' matrices and biases one below the other, packed for inference; null where they are not all dense or all
/// CSR, or where the backend gains nothing by it. A map without a bias gets one of zeros.
std::shared_ptr<const StackedLinear> stack_linears(Backend& backend, std::span<const Linear* const> linears);

}  // namespace bertx
