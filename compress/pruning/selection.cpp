#include "pruning/selection.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "bertx/error.h"
#include "bertx/files.h"

namespace bertx::compress {
namespace {

constexpr std::int64_t longest_group = 1 << 20;

std::vector<std::int64_t> counts_of(std::span<const Candidates> matrices, double sparsity, const Selection& how) {
  std::vector<MatrixShape> shapes;
  for (const Candidates& m : matrices) shapes.push_back({m.rows, m.cols});
  return kept_counts(shapes, sparsity, how.distribution, how.sensitivities);
}

Ranked flat(const Candidates& m) { return {m.keys, m.mask, m.rows * m.cols}; }

void select_by_scope(std::span<const Candidates> matrices, double sparsity, const Selection& how, Key key) {
  if (how.scope == Scope::global) {
    std::vector<Ranked> parts;
    std::int64_t total = 0;
    for (const Candidates& m : matrices) {
      parts.push_back(flat(m));
      total += parts.back().size;
    }
    keep_largest(parts, kept_of(total, sparsity), key);
    return;
  }
  const std::vector<std::int64_t> counts = counts_of(matrices, sparsity, how);
  for (std::size_t i = 0; i < matrices.size(); ++i) {
    const Candidates& m = matrices[i];
    const Ranked all = flat(m);
    if (how.scope == Scope::local) {
      keep_largest({&all, 1}, counts[i], key);
    } else if (how.distribution == Distribution::uniform) {
      keep_largest_of_groups(all, m.cols, m.cols, kept_of(m.cols, sparsity), key);
    } else {
      keep_largest_of_groups(all, m.cols, m.cols, counts[i] / std::max<std::int64_t>(1, m.rows), key);
    }
  }
}

// Only what the pattern drops may be dropped: the others get keys above all.
void select_on_the_way_to_pattern(std::span<const Candidates> matrices, double sparsity, const Selection& how,
                                  Key key) {
  std::vector<std::vector<float>> keys;
  std::vector<std::vector<std::uint8_t>> kept;
  std::vector<Candidates> raised;
  for (const Candidates& m : matrices) {
    const std::size_t size = static_cast<std::size_t>(m.rows * m.cols);
    kept.emplace_back(m.mask, m.mask + size);
    keys.emplace_back(m.keys, m.keys + size);
    for (std::size_t i = 0; i < size; ++i) {
      if (kept.back()[i]) keys.back()[i] = std::numeric_limits<float>::infinity();
    }
    raised.push_back({keys.back().data(), m.mask, m.rows, m.cols});
  }
  select_by_scope(raised, sparsity, how, key);
  for (std::size_t n = 0; n < matrices.size(); ++n) {
    for (std::size_t i = 0; i < kept[n].size(); ++i) matrices[n].mask[i] |= kept[n][i];
  }
}

}  // namespace

Pattern parse_pattern(const std::string& text) {
  if (text.empty()) return {};
  const std::size_t colon = text.find(':');
  if (colon != std::string::npos) {
    const auto kept = parse_int(text.substr(0, colon)), of = parse_int(text.substr(colon + 1));
    if (kept && of && *kept >= 1 && *kept < *of && *of <= longest_group) return {*kept, *of};
  }
  fail(ErrorKind::usage, "pattern: found ", quote(text),
       ", expected n:m, n kept of every m weights of a row and 1 <= n", " < m, as 2:4");
}

Selection selection_of(const Recipe& recipe, Scope own) {
  Selection how;
  how.pattern = parse_pattern(recipe.pattern);
  how.scope = recipe.scope == "local"    ? Scope::local
              : recipe.scope == "row"    ? Scope::row
              : recipe.scope == "global" ? Scope::global
                                         : own;
  how.distribution = recipe.distribution == "erdos_renyi"   ? Distribution::erdos_renyi
                     : recipe.distribution == "sensitivity" ? Distribution::sensitivity
                                                            : Distribution::uniform;
  if (how.distribution == Distribution::uniform) return how;
  if (recipe.scope == "auto" && how.scope == Scope::global) how.scope = Scope::local;
  if (how.scope == Scope::global) {
    fail(ErrorKind::usage, "distribution: found ", recipe.distribution,
         " with scope global, where the ranking itself spreads the weights, expected scope local or row");
  }
  if (how.pattern.any()) {
    fail(ErrorKind::usage, "distribution: found ", recipe.distribution, " with pattern ", recipe.pattern,
         ", which keeps the same share of every row, expected one of the two");
  }
  return how;
}

double final_sparsity(const Recipe& recipe) {
  const Pattern pattern = parse_pattern(recipe.pattern);
  return pattern.any() ? pattern.sparsity() : recipe.sparsity;
}

void select(std::span<const Candidates> matrices, double sparsity, const Selection& how, Key key) {
  if (!how.pattern.any()) return select_by_scope(matrices, sparsity, how, key);
  for (const Candidates& m : matrices) {
    keep_largest_of_groups(flat(m), m.cols, how.pattern.of, how.pattern.kept, key);
  }
  if (sparsity < how.pattern.sparsity() - 1e-9) select_on_the_way_to_pattern(matrices, sparsity, how, key);
}

}  // namespace bertx::compress
