// The fastest that this machine multiplies and adds, measured: what the rates of products are a share of.
#pragma once

#include <string_view>

namespace bertx::tools {

/// Floating point operations a second of `threads` threads that only multiply and add in registers, with the vectors
/// of the active instruction set: the best of some short runs. dtype "bf16": pairs of bf16 products added in float32;
/// 0 where the processor (or a forced instruction set) has no instruction for it. "f64": as "f32", half as wide.
double measured_peak(std::string_view dtype, int threads);

}  // namespace bertx::tools
