#include "structure/search.h"

#include <algorithm>
#include <limits>

namespace bertx::compress {
namespace {

/// The parts of all layers, the most important first, and what the first n of them cost and are worth.
struct Ranking {
  struct Place {
    std::size_t layer, part;
    double score;
  };
  std::vector<Place> order;
  std::vector<double> cost{0.0}, worth{0.0};  // of the first n

  Ranking(const Scores& scores, const CostCurve& curve) {
    for (std::size_t layer = 0; layer < scores.size(); ++layer) {
      for (std::size_t part = 0; part < scores[layer].size(); ++part) {
        order.push_back({layer, part, scores[layer][part]});
      }
    }
    std::ranges::stable_sort(order, std::greater<>(), &Place::score);
    std::vector<std::size_t> count(scores.size());  // of each layer so far
    for (const Place& place : order) {
      const std::size_t n = count[place.layer]++;
      cost.push_back(cost.back() + curve[n + 1] - curve[n]);
      worth.push_back(worth.back() + place.score);
    }
  }

  /// The most parts that cost no more than this; -1: not even none.
  std::int64_t affordable(double budget) const {
    return std::upper_bound(cost.begin(), cost.end(), budget) - cost.begin() - 1;
  }

  KeptParts first(std::int64_t n, const Scores& scores) const {
    KeptParts keep;
    for (const std::vector<double>& layer : scores) keep.emplace_back(layer.size());
    for (std::int64_t i = 0; i < n; ++i) {
      const Place& place = order[static_cast<std::size_t>(i)];
      keep[place.layer][place.part] = true;
    }
    return keep;
  }
};

}  // namespace

CostCurve even_costs(double each, std::int64_t most) {
  CostCurve curve;
  for (std::int64_t n = 0; n <= most; ++n) curve.push_back(each * static_cast<double>(n));
  return curve;
}

CostCurve costs_between(const std::vector<std::pair<std::int64_t, double>>& points) {
  CostCurve curve{0.0};
  for (std::size_t p = 1; p < points.size(); ++p) {
    const auto [from, low] = points[p - 1];
    const auto [to, high] = points[p];
    for (std::int64_t n = from + 1; n <= to; ++n) {
      const double share = static_cast<double>(n - from) / static_cast<double>(to - from);
      curve.push_back(std::max(curve.back(), low + share * (high - low) - points.front().second));
    }
  }
  return curve;
}

double cost_of(const PartCosts& costs, const KeptParts& heads, const KeptParts& neurons) {
  double sum = 0;
  for (const auto& [curve, parts] : {std::pair{&costs.heads, &heads}, {&costs.neurons, &neurons}}) {
    for (const std::vector<bool>& layer : *parts) {
      sum += (*curve)[static_cast<std::size_t>(std::ranges::count(layer, true))];
    }
  }
  return sum;
}

FoundParts search_parts(const Scores& heads, const Scores& neurons, const PartCosts& costs, double budget) {
  const Ranking of_heads(heads, costs.heads), of_neurons(neurons, costs.neurons);
  const double rounding = 1e-9 * budget;  // a budget that pays for exactly so many is one that does
  std::int64_t best_heads = 0, best_neurons = 0;
  double best = -std::numeric_limits<double>::infinity();
  for (std::size_t n = 0; n < of_heads.cost.size(); ++n) {
    const double rest = budget + rounding - of_heads.cost[n];
    if (rest < 0) break;
    const std::int64_t m = of_neurons.affordable(rest);
    const double worth = of_heads.worth[n] + of_neurons.worth[static_cast<std::size_t>(m)];
    if (worth <= best) continue;
    best = worth;
    best_heads = static_cast<std::int64_t>(n);
    best_neurons = m;
  }
  return {of_heads.first(best_heads, heads), of_neurons.first(best_neurons, neurons)};
}

double fisher_loss(const Eigen::MatrixXd& gradients, const std::vector<bool>& keep) {
  Eigen::VectorXd sum = Eigen::VectorXd::Zero(gradients.rows());
  for (std::size_t j = 0; j < keep.size(); ++j) {
    if (!keep[j]) sum += gradients.col(static_cast<Eigen::Index>(j));
  }
  return sum.squaredNorm();
}

// ‖v + g_j‖² - ‖v‖² for what is removed beside j: the part in the place of i must make it smaller than i does.
void rearrange(const Eigen::MatrixXd& gradients, std::vector<bool>& keep) {
  constexpr int passes = 10;  // two or three are enough as a rule
  const Eigen::VectorXd squares = gradients.colwise().squaredNorm().transpose();
  Eigen::VectorXd sum = Eigen::VectorXd::Zero(gradients.rows());
  for (std::size_t j = 0; j < keep.size(); ++j) {
    if (!keep[j]) sum += gradients.col(static_cast<Eigen::Index>(j));
  }
  bool changed = true;
  for (int pass = 0; pass < passes && changed; ++pass) {
    changed = false;
    for (std::size_t i = 0; i < keep.size(); ++i) {
      if (keep[i]) continue;
      const auto removed = static_cast<Eigen::Index>(i);
      const Eigen::VectorXd others = sum - gradients.col(removed);
      const Eigen::VectorXd costs = 2.0 * (gradients.transpose() * others) + squares;
      Eigen::Index partner = removed;
      for (std::size_t j = 0; j < keep.size(); ++j) {
        if (keep[j] && costs(static_cast<Eigen::Index>(j)) < costs(partner)) partner = static_cast<Eigen::Index>(j);
      }
      // Not for a difference that is one of rounding only.
      if (costs(removed) - costs(partner) <= 1e-12 * (others.squaredNorm() + squares(removed))) continue;
      sum = others + gradients.col(partner);
      keep[i] = true;
      keep[static_cast<std::size_t>(partner)] = false;
      changed = true;
    }
  }
}

}  // namespace bertx::compress
