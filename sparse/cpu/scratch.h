// Memory of a thread that products reuse from call to call, so that none allocates after the first.
#pragma once

#include <cstdint>

namespace bertx::sparse {

/// What a thread may hold at once.
enum class Scratch { block, sums, values };

/// At least `count` floats of this thread, 64-byte aligned, not initialised; valid until the thread asks for the same
/// kind again. Throws Error(out_of_memory).
float* scratch(Scratch kind, std::int64_t count);

}  // namespace bertx::sparse
