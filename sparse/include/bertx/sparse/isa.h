// Which instruction set the kernels use: detected once, forced by the environment variable BERTX_ISA.
#pragma once

#include <string_view>

namespace bertx::sparse {

/// In order of preference; every x86-64 (and any other) machine has `portable`.
enum class Isa { portable = 0, avx2 = 1, avx512 = 2 };

/// The best set of this processor: avx512 needs F, DQ, BW, VL; avx2 needs AVX2, FMA, F16C.
Isa detected_isa();

/// Whether it also multiplies pairs of bf16 numbers in one instruction (AVX512_BF16, beside avx512).
bool detected_bf16_dot();

/// What kernels run with: BERTX_ISA=portable|avx2|avx512|avx512_bf16 where set, else the best of this processor.
/// Throws Error(usage) when BERTX_ISA names no set, or one that the processor lacks. Read once.
Isa active_isa();
/// The same for bf16 products: never with less than avx512, and not where BERTX_ISA=avx512.
bool active_bf16_dot();

/// Overrides active_isa() in this process (tests run every set in one process), with the bf16 instruction where
/// avx512 and the processor have it. Throws like active_isa().
void force_isa(Isa isa);
void force_isa(Isa isa, bool bf16_dot);

std::string_view isa_name(Isa isa);
/// The names that BERTX_ISA has for the best of this processor and for what is active.
std::string_view detected_isa_name();
std::string_view active_isa_name();

}  // namespace bertx::sparse
