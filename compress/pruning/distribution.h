// How many weights each matrix keeps when all together shall keep a given share.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace bertx::compress {

enum class Distribution : std::uint8_t { uniform, erdos_renyi, sensitivity };

struct MatrixShape {
  std::int64_t rows = 0, cols = 0;
  std::int64_t size() const { return rows * cols; }
};

/// What a model loses when one matrix alone is pruned: pairs of rising sparsity (from 0 to 1) and loss, the first (0,
/// 0).
struct SensitivityPoint {
  double sparsity = 0, loss = 0;
};
using Sensitivity = std::vector<SensitivityPoint>;

/// floor((1 - sparsity) n), where 0.1 · 1000 is 100 whatever the last bit of 1 - 0.9 is.
std::int64_t kept_of(std::int64_t n, double sparsity);

/// Each matrix keeps its share of kept_of(all weights), to the last weight:
/// - erdos_renyi: density ∝ (rows + cols) / (rows · cols) (Mocanu et al. 2018, 1707.04780; Evci et al. 2020,
///   1911.11134). Where that is more than 1 the matrix stays dense and the others share the rest.
/// - sensitivity: the sum of the losses, linear between the points and made convex, is least.
/// uniform: kept_of(each matrix).
std::vector<std::int64_t> kept_counts(std::span<const MatrixShape> shapes, double sparsity, Distribution distribution,
                                      std::span<const Sensitivity> sensitivities = {});

}  // namespace bertx::compress
