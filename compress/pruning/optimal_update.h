// The mathematics of SparseGPT on one matrix: which weights go, and what those that stay make good of it.
#pragma once

#include <Eigen/Core>
#include <span>

#include "pruning/selection.h"

namespace bertx::compress {

using RowMatrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// R, upper, with RᵀR = H⁻¹, where H = (2 / tokens) X Xᵀ + damp · mean(diagonal) · I. Where nothing comes in at all, I.
/// Throws Error(numeric) where H is not positive definite.
RowMatrix inverse_factor(const Eigen::MatrixXd& gram, std::int64_t tokens, double damp);

/// Prunes w [out, in] in blocks of `block` columns (rounded to whole groups of a pattern), left to right; what is
/// pruned in column j changes the columns behind it: W[:, j:] -= (w / R_jj) · R[j, j:]. The block's smallest (w /
/// R_jj)² go, of a pattern's groups those of each row, all as they are when their turn comes. `mask` [out, in] is what
/// is kept; where it is 0 at the beginning the weight goes in any case. Inputs `dead` go first.
void prune_columns(RowMatrix& w, std::uint8_t* mask, const RowMatrix& r, std::span<const std::uint8_t> dead,
                   double sparsity, const Pattern& pattern, std::int64_t block);

}  // namespace bertx::compress
