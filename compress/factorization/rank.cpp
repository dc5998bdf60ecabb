#include "factorization/rank.h"

#include <algorithm>

#include "bertx/error.h"

namespace bertx::compress {

std::int64_t RankCost::rank_within(double multiplies) const {
  const double left = multiplies - static_cast<double>(beside);
  return left <= 0 ? 0 : static_cast<std::int64_t>(left / static_cast<double>(out + in));
}

std::int64_t RankCost::most(const Recipe& recipe) const {
  return recipe.allow_slower ? full_rank() : std::min(full_rank(), rank_within(static_cast<double>(whole)));
}

void check_rank_options(const Recipe& recipe) {
  const Recipe defaults;
  if (recipe.rank && recipe.rank_by != defaults.rank_by) {
    fail(ErrorKind::usage, "rank: found ", *recipe.rank, " beside rank_by ", recipe.rank_by,
         ", expected one of the two");
  }
  struct Number {
    const char *by, *option;
    double Recipe::*field;
  };
  for (const auto& [by, option, field] :
       {Number{"ratio", "ratio", &Recipe::ratio}, Number{"energy", "energy", &Recipe::energy},
        Number{"error", "error", &Recipe::error}, Number{"time", "speed_up", &Recipe::speed_up}}) {
    if (recipe.*field == defaults.*field || (!recipe.rank && recipe.rank_by == by)) continue;
    fail(ErrorKind::usage, option, ": found ", recipe.*field, ", expected it with rank_by ", by,
         recipe.rank ? " and without a rank" : text(", which is ", recipe.rank_by));
  }
}

void check_rank(const RankCost& cost, const Recipe& recipe) {
  if (recipe.rank) {
    if (*recipe.rank <= cost.full_rank()) return;
    fail(ErrorKind::usage, "rank: found ", *recipe.rank, ", expected at most ", cost.full_rank(), ", the full rank of ",
         cost.path, " [", cost.out, ", ", cost.in, "]");
  }
  const auto whole = static_cast<double>(cost.whole);
  if (recipe.rank_by != "ratio" || cost.rank_within(recipe.ratio * whole) > 0) return;
  fail(ErrorKind::usage, "ratio: found ", recipe.ratio, ", expected at least ",
       static_cast<double>(cost.multiplies(1)) / whole, ", which rank 1",
       cost.beside > 0 ? " and the sparse part take" : " takes", " of ", cost.path, " [", cost.out, ", ", cost.in, "]");
}

std::int64_t rank_leaving(const Eigen::VectorXd& energies, double share) {
  // Eigenvalues that would be 0 in exact numbers are not.
  constexpr double rounding = 1e-12;
  const double allowed = (share + rounding) * energies.sum();
  double left_out = 0;
  std::int64_t rank = energies.size();
  while (rank > 1 && left_out + energies[rank - 1] <= allowed) left_out += energies[--rank];
  return rank;
}

std::int64_t largest_fast_rank(std::int64_t most, const FastEnough& fast) {
  const std::int64_t step = most >= 64 ? 16 : 1;
  std::int64_t found = 0, open = most / step + 1;  // in steps: `found` is fast enough or 0, `open` is not or too large
  while (open - found > 1) {
    const std::int64_t middle = (found + open) / 2;
    (fast(middle * step) ? found : open) = middle;
  }
  return found * step;
}

std::int64_t choose_rank(const RankCost& cost, const Recipe& recipe, const Eigen::VectorXd& energies,
                         const FastEnough& fast) {
  const std::int64_t most = cost.most(recipe);
  std::int64_t rank = 0;
  if (recipe.rank) {
    rank = *recipe.rank;
  } else if (recipe.rank_by == "ratio") {
    rank = std::min(cost.full_rank(), cost.rank_within(recipe.ratio * static_cast<double>(cost.whole)));
  } else if (recipe.rank_by == "energy") {
    rank = rank_leaving(energies, 1.0 - recipe.energy);
  } else if (recipe.rank_by == "error") {
    rank = rank_leaving(energies, recipe.error * recipe.error);
  } else {
    rank = largest_fast_rank(most, fast);
  }
  return rank <= most ? rank : 0;
}

}  // namespace bertx::compress
