// Which weights are kept, for any score: what is compared with what (scope), how the kept ones are spread over the
// matrices (distribution), and a pattern that they must have (n of every m). Every method that zeroes weights ends
// here.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "bertx/recipe.h"
#include "pruning/distribution.h"
#include "pruning/ranking.h"

namespace bertx::compress {

enum class Scope : std::uint8_t { local, row, global };

/// At most `kept` weights of every `of` consecutive ones of a row, as 2:4; the columns left over at the end of a row
/// keep the same share, rounded up.
struct Pattern {
  std::int64_t kept = 0, of = 0;  ///< of = 0: none
  bool any() const { return of > 0; }
  double sparsity() const { return 1.0 - static_cast<double>(kept) / static_cast<double>(of); }
};
/// "" is no pattern. Throws Error(usage) for what is not "n:m" with 1 <= n < m.
Pattern parse_pattern(const std::string& text);

struct Selection {
  Scope scope = Scope::local;
  Pattern pattern = {};
  Distribution distribution = Distribution::uniform;
  std::vector<Sensitivity> sensitivities = {};  ///< of each matrix, for Distribution::sensitivity
};
/// Of a recipe; `own` is the method's scope where the recipe says "auto". Throws Error(usage) for a combination without
/// sense. Distribution::sensitivity needs its measurements in addition (pruning/sensitivity.h).
Selection selection_of(const Recipe& recipe, Scope own = Scope::local);

/// The share of zeros that a method ends with: the recipe's, or its pattern's.
double final_sparsity(const Recipe& recipe);

/// The keys of a matrix [rows, cols], row by row, and where its mask goes (u8, 0 or 1).
struct Candidates {
  const float* keys = nullptr;
  std::uint8_t* mask = nullptr;
  std::int64_t rows = 0, cols = 0;
};

/// Sets the masks so that `sparsity` of all weights are zero: those with the largest keys are kept; of equal keys the
/// earlier. Kept are floor((1 - sparsity) n) of each matrix (scope local, uniform), of each row (row), or of all
/// (global); with another distribution as many of all matrices together (local). A pattern makes at least as many zeros
/// as it says; while a schedule wants fewer than that, only weights that the pattern drops are dropped, smallest first.
void select(std::span<const Candidates> matrices, double sparsity, const Selection& how, Key key);

}  // namespace bertx::compress
