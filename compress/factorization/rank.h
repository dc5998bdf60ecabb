// How many directions of a matrix its factors keep: by a number, or by what they cost or lose.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>

#include "bertx/recipe.h"

namespace bertx::compress {

/// One matrix W [out, in] ≈ U [out, rank] V [rank, in], with or without a sparse part beside them.
struct RankCost {
  std::string path;
  std::int64_t out = 0, in = 0;
  std::int64_t whole = 0;   ///< multiplies per token of the matrix as it is: of a sparse one its nonzeros
  std::int64_t beside = 0;  ///< of the sparse part

  std::int64_t full_rank() const { return std::min(out, in); }
  std::int64_t multiplies(std::int64_t rank) const { return rank * (out + in) + beside; }
  /// The largest rank of at most so many multiplies; 0: there is none. Of `whole` it is where the factors break even:
  /// 384 of 768 x 768, 614 of 768 x 3072.
  std::int64_t rank_within(double multiplies) const;
  /// The largest that is taken: the full rank where factors may be slower than the matrix.
  std::int64_t most(const Recipe& recipe) const;
};

/// Throws Error(usage) where two things are to decide the rank, or a number is given for one that does not.
void check_rank_options(const Recipe& recipe);
/// Throws Error(usage) naming the matrix where `rank` is more than its full rank, or where `ratio` leaves no rank.
void check_rank(const RankCost& cost, const Recipe& recipe);

/// Whether products with factors of a rank are fast enough.
using FastEnough = std::function<bool(std::int64_t rank)>;

/// The rank that the recipe asks for; 0 where its factors would multiply more than the matrix, or none is fast enough:
/// then the matrix stays as it is. energies: Spectrum::energies of the matrix. `fast` is asked only if time decides.
std::int64_t choose_rank(const RankCost& cost, const Recipe& recipe, const Eigen::VectorXd& energies,
                         const FastEnough& fast);

/// The smallest rank that leaves out at most `share` of the energies; at least 1.
std::int64_t rank_leaving(const Eigen::VectorXd& energies, double share);
/// The largest rank up to `most` that is fast enough, by bisection; 0: none. Multiples of 16, which is what kernels are
/// made for, where `most` has several of them.
std::int64_t largest_fast_rank(std::int64_t most, const FastEnough& fast);

}  // namespace bertx::compress
