#include "pruning/distribution.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <numeric>

namespace bertx::compress {
namespace {

double total(std::span<const MatrixShape> shapes) {
  double sum = 0;
  for (const MatrixShape& shape : shapes) sum += static_cast<double>(shape.size());
  return sum;
}

// How many each matrix keeps, not yet whole; they sum to `kept`.
std::vector<double> erdos_renyi(std::span<const MatrixShape> shapes, double kept) {
  std::vector<double> wanted(shapes.size());
  std::vector<bool> full(shapes.size());
  for (bool changed = true; changed;) {
    // density = ε (rows + cols) / (rows cols), so that a matrix keeps ε (rows + cols)
    double left = kept, edges = 0;
    for (std::size_t i = 0; i < shapes.size(); ++i) {
      const double size = static_cast<double>(shapes[i].size());
      if (full[i]) left -= wanted[i] = size;
      if (!full[i] && size > 0) edges += static_cast<double>(shapes[i].rows + shapes[i].cols);
    }
    changed = false;
    for (std::size_t i = 0; i < shapes.size(); ++i) {
      const double size = static_cast<double>(shapes[i].size());
      if (full[i] || size == 0) continue;
      wanted[i] = left * static_cast<double>(shapes[i].rows + shapes[i].cols) / edges;
      if (wanted[i] > size) full[i] = changed = true;
    }
  }
  return wanted;
}

// A piece of a convex loss: so many weights may be dropped at this loss a weight.
struct Piece {
  std::size_t matrix;
  double weights, slope;
};

// The lower convex hull of the points of one matrix, as pieces of rising slope.
void add_pieces(std::size_t matrix, double size, const Sensitivity& points, std::vector<Piece>& pieces) {
  Sensitivity hull;
  for (const SensitivityPoint& point : points) {
    const auto slope = [](const SensitivityPoint& a, const SensitivityPoint& b) {
      return (b.loss - a.loss) / (b.sparsity - a.sparsity);
    };
    while (hull.size() >= 2 && slope(hull.back(), point) <= slope(hull[hull.size() - 2], hull.back())) hull.pop_back();
    hull.push_back(point);
  }
  for (std::size_t i = 0; i + 1 < hull.size(); ++i) {
    const double weights = size * (hull[i + 1].sparsity - hull[i].sparsity);
    if (weights > 0) pieces.push_back({matrix, weights, (hull[i + 1].loss - hull[i].loss) / weights});
  }
}

// The cheapest pieces are dropped first: with convex losses that is the least sum.
std::vector<double> by_sensitivity(std::span<const MatrixShape> shapes, std::span<const Sensitivity> sensitivities,
                                   double kept) {
  assert(sensitivities.size() == shapes.size());
  std::vector<Piece> pieces;
  std::vector<double> wanted(shapes.size());
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    wanted[i] = static_cast<double>(shapes[i].size());
    add_pieces(i, wanted[i], sensitivities[i], pieces);
  }
  std::stable_sort(pieces.begin(), pieces.end(), [](const Piece& a, const Piece& b) { return a.slope < b.slope; });
  double left = total(shapes) - kept;
  for (const Piece& piece : pieces) {
    const double dropped = std::min(left, piece.weights);
    wanted[piece.matrix] -= dropped;
    left -= dropped;
  }
  return wanted;
}

// Whole numbers that sum to `kept`, none more than its matrix has: rounded down, and one more where most was cut off.
std::vector<std::int64_t> rounded(std::span<const MatrixShape> shapes, const std::vector<double>& wanted,
                                  std::int64_t kept) {
  std::vector<std::int64_t> counts(shapes.size());
  std::vector<std::size_t> order(shapes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::int64_t left = kept;
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    counts[i] = std::clamp<std::int64_t>(static_cast<std::int64_t>(std::floor(wanted[i])), 0, shapes[i].size());
    left -= counts[i];
  }
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return wanted[a] - std::floor(wanted[a]) > wanted[b] - std::floor(wanted[b]);
  });
  for (std::size_t at = 0, refused = 0; left > 0 && refused < order.size(); at = (at + 1) % order.size()) {
    const std::size_t i = order[at];
    refused = counts[i] < shapes[i].size() ? 0 : refused + 1;
    if (refused == 0) ++counts[i], --left;
  }
  return counts;
}

}  // namespace

std::int64_t kept_of(std::int64_t n, double sparsity) {
  return static_cast<std::int64_t>(std::floor((1.0 - sparsity) * static_cast<double>(n) + 1e-9));
}

std::vector<std::int64_t> kept_counts(std::span<const MatrixShape> shapes, double sparsity, Distribution distribution,
                                      std::span<const Sensitivity> sensitivities) {
  std::vector<std::int64_t> counts;
  if (distribution == Distribution::uniform) {
    for (const MatrixShape& shape : shapes) counts.push_back(kept_of(shape.size(), sparsity));
    return counts;
  }
  const std::int64_t kept = kept_of(static_cast<std::int64_t>(total(shapes)), sparsity);
  const auto exact = static_cast<double>(kept);
  return rounded(shapes,
                 distribution == Distribution::erdos_renyi ? erdos_renyi(shapes, exact)
                                                           : by_sensitivity(shapes, sensitivities, exact),
                 kept);
}

}  // namespace bertx::compress
