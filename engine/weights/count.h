// Counting what is not zero, on the host.
#pragma once

#include "bertx/backend.h"

namespace bertx {

/// Entries of x (real or u8) that are not exactly zero.
std::int64_t count_nonzeros(Backend& backend, Tensor x);

}  // namespace bertx
