// Which instruction set the kernels use: detected once, forced by the environment variable BERTX_ISA.
#pragma once

#include <string_view>

namespace bertx::sparse {

/// In order of preference; every x86-64 (and any other) machine has `portable`.
enum class Isa { portable = 0, avx2 = 1, avx512 = 2 };

/// The best set of this processor: avx512 needs F, DQ, BW, VL; avx2 needs AVX2, FMA, F16C.
Isa detected_isa();

/// What kernels run with: BERTX_ISA=portable|avx2|avx512 where set, else detected_isa().
/// Throws Error(usage) when BERTX_ISA names no set, or one that the processor lacks. Read once.
Isa active_isa();

/// Overrides active_isa() in this process (tests run every set in one process). Throws like active_isa().
void force_isa(Isa isa);

std::string_view isa_name(Isa isa);

}  // namespace bertx::sparse
