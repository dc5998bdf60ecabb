// Which heads and neurons stay under one budget, by the curvature of the loss at their masks: the search and the
// rearrangement of Kwon et al. 2022 (2204.09656).
#pragma once

#include "factorization/decompose.h"
#include "structure/rounds.h"

namespace bertx::compress {

/// What k heads (or neurons) of one layer cost, for k = 0, 1, …: 0 at first, never falling.
using CostCurve = std::vector<double>;
struct PartCosts {
  CostCurve heads, neurons;
};
/// `each` for every part.
CostCurve even_costs(double each, std::int64_t most);
/// Between measured points (count, cost) along lines; less the cost at 0, and never falling. Points ascend from 0.
CostCurve costs_between(const std::vector<std::pair<std::int64_t, double>>& points);
/// Of all layers together.
double cost_of(const PartCosts& costs, const KeptParts& heads, const KeptParts& neurons);

struct FoundParts {
  KeptParts heads, neurons;
};
/// For every number n of heads: the n most important of all layers, and of the most important neurons as many as the
/// rest of the budget pays for. Of these the one that loses least importance. With even costs that is the best of all
/// choices.
FoundParts search_parts(const Scores& heads, const Scores& neurons, const PartCosts& costs, double budget);

/// (Σ of the removed parts' gradients)² over all batches: what removing them costs by the layer's Fisher matrix Σ g gᵀ.
/// gradients [batches, parts].
double fisher_loss(const Eigen::MatrixXd& gradients, const std::vector<bool>& keep);
/// Swaps a removed part for a kept one as long as that lowers fisher_loss, one removed part at a time, each for the
/// best partner. As many are kept as before.
void rearrange(const Eigen::MatrixXd& gradients, std::vector<bool>& keep);

}  // namespace bertx::compress
