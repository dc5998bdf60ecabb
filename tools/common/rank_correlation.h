// How much two rankings of the same things agree; bertx::spearmanr is the other one.
#pragma once

#include <span>

namespace bertx::tools {

/// Kendall's tau-b: pairs in the same order less pairs in the other, over the geometric mean of the pairs that either
/// side does not tie. NaN for fewer than two values or constant ones.
double kendall_tau(std::span<const float> a, std::span<const float> b);

}  // namespace bertx::tools
