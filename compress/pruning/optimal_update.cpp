#include "pruning/optimal_update.h"

#include <Eigen/Cholesky>
#include <algorithm>

#include "bertx/error.h"
#include "bertx/sparse/parallel.h"

namespace bertx::compress {

namespace {

// L⁻¹ [n, n]. Columns j and up of it have zeros above row j, so a panel of them is a solution with a smaller triangle.
Eigen::MatrixXd inverse_of_lower(const Eigen::MatrixXd& l) {
  constexpr Eigen::Index width = 64;
  const Eigen::Index n = l.rows(), panels = (n + width - 1) / width;
  Eigen::MatrixXd inverse = Eigen::MatrixXd::Zero(n, n);
  sparse::parallel_ranges(panels, 1, [&](std::int64_t first, std::int64_t last) {
    for (Eigen::Index i = first; i < last; ++i) {
      const Eigen::Index panel = i % 2 == 0 ? i / 2 : panels - 1 - i / 2;  // each thread gets large and small ones
      const Eigen::Index begin = panel * width, rows = n - begin, cols = std::min(width, rows);
      auto x = inverse.block(begin, begin, rows, cols);
      x.topRows(cols).setIdentity();
      l.bottomRightCorner(rows, rows).triangularView<Eigen::Lower>().solveInPlace(x);
    }
  });
  return inverse;
}

}  // namespace

// With H = U Uᵀ, U upper, H⁻¹ = U⁻ᵀ U⁻¹: R is U⁻¹, and H⁻¹ itself is never formed. U is the Cholesky
// factor of H turned by half a circle, turned back.
RowMatrix inverse_factor(const Eigen::MatrixXd& gram, std::int64_t tokens, double damp) {
  const Eigen::Index n = gram.rows();
  Eigen::MatrixXd turned = gram.reverse() * (2.0 / static_cast<double>(std::max<std::int64_t>(1, tokens)));
  const double mean = n == 0 ? 0.0 : turned.diagonal().mean();
  if (mean == 0.0) return RowMatrix::Identity(n, n);
  turned.diagonal().array() += damp * mean;
  const Eigen::LLT<Eigen::Ref<Eigen::MatrixXd>> factor(turned);
  if (factor.info() != Eigen::Success || !(mean > 0.0)) {
    fail(ErrorKind::numeric, "damp: found ", damp,
         ", with which the second moments of a matrix's inputs are not positive definite, expected more");
  }
  return inverse_of_lower(turned).reverse();
}

namespace {

struct Columns {
  Eigen::Index first, count;
};

// The block's mask: the largest w² / R_jj² of all rows are kept, of what was alive.
void choose(const RowMatrix& w, std::uint8_t* mask, const RowMatrix& r, std::span<const std::uint8_t> dead, Columns at,
            std::int64_t keep) {
  const Eigen::Index rows = w.rows(), cols = w.cols();
  const auto size = static_cast<std::size_t>(rows * at.count);
  std::vector<float> scores(size);
  std::vector<std::uint8_t> kept(size);
  sparse::parallel_ranges(rows, 64, [&](std::int64_t first, std::int64_t last) {
    for (Eigen::Index row = first; row < last; ++row) {
      for (Eigen::Index c = 0; c < at.count; ++c) {
        const Eigen::Index j = at.first + c;
        const double error = w(row, j) / r(j, j);
        scores[static_cast<std::size_t>(row * at.count + c)] = !mask[row * cols + j] ? -1.0f
                                                               : dead[static_cast<std::size_t>(j)]
                                                                   ? 0.0f
                                                                   : static_cast<float>(error * error);
      }
    }
  });
  const Ranked ranked{scores.data(), kept.data(), rows * at.count};
  keep_largest({&ranked, 1}, keep, Key::value);
  for (Eigen::Index row = 0; row < rows; ++row) {
    for (Eigen::Index c = 0; c < at.count; ++c) {
      mask[row * cols + at.first + c] &= kept[static_cast<std::size_t>(row * at.count + c)];
    }
  }
}

// The mask of one row's group of a pattern, from the weights as they are now.
void choose_in_group(const double* w, std::uint8_t* mask, const RowMatrix& r, std::span<const std::uint8_t> dead,
                     Columns at, const Pattern& pattern, std::vector<float>& scores, std::vector<std::uint8_t>& kept) {
  for (Eigen::Index c = 0; c < at.count; ++c) {
    const Eigen::Index j = at.first + c;
    const double error = w[j] / r(j, j);
    scores[static_cast<std::size_t>(c)] = !mask[j]                            ? -1.0f
                                          : dead[static_cast<std::size_t>(j)] ? 0.0f
                                                                              : static_cast<float>(error * error);
  }
  keep_largest_of_groups({scores.data(), kept.data(), at.count}, at.count, pattern.of, pattern.kept, Key::value);
  for (Eigen::Index c = 0; c < at.count; ++c) mask[at.first + c] &= kept[static_cast<std::size_t>(c)];
}

}  // namespace

void prune_columns(RowMatrix& w, std::uint8_t* mask, const RowMatrix& r, std::span<const std::uint8_t> dead,
                   double sparsity, const Pattern& pattern, std::int64_t block) {
  const Eigen::Index rows = w.rows(), cols = w.cols();
  if (pattern.any()) block = std::max(pattern.of, block / pattern.of * pattern.of);
  for (Eigen::Index begin = 0; begin < cols; begin += block) {
    const Columns at{begin, std::min<Eigen::Index>(block, cols - begin)};
    const Eigen::Index end = at.first + at.count, behind = cols - end;
    if (!pattern.any()) {
      choose(w, mask, r, dead, at, kept_of(rows * end, sparsity) - kept_of(rows * begin, sparsity));
    }
    sparse::parallel_ranges(rows, 8, [&](std::int64_t first, std::int64_t last) {
      RowMatrix errors = RowMatrix::Zero(last - first, at.count);  // w / R_jj of what is pruned
      std::vector<float> scores(static_cast<std::size_t>(pattern.of));
      std::vector<std::uint8_t> kept(static_cast<std::size_t>(pattern.of));
      for (Eigen::Index row = first; row < last; ++row) {
        double* const weights = w.row(row).data();
        std::uint8_t* const bits = mask + row * cols;
        for (Eigen::Index j = at.first; j < end; ++j) {
          if (pattern.any() && (j - begin) % pattern.of == 0) {
            choose_in_group(weights, bits, r, dead, {j, std::min<Eigen::Index>(pattern.of, cols - j)}, pattern, scores,
                            kept);
          }
          if (bits[j]) continue;
          const double error = weights[j] / r(j, j);
          errors(row - first, j - begin) = error;
          w.row(row).segment(j, end - j) -= error * r.row(j).segment(j, end - j);
          weights[j] = 0.0;
        }
      }
      // The columns behind the block hear of all its errors at once.
      w.block(first, end, last - first, behind).noalias() -= errors * r.block(begin, end, at.count, behind);
    });
  }
}

}  // namespace bertx::compress
