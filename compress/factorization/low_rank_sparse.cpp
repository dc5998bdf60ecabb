// W ≈ U V + S with a sparse S for the few large entries that no low rank has, the form of LoSparse (Li et al. 2023,
// 2306.11222), which prunes S by neurons while it trains. Here S takes single entries and both parts are found at once,
// in turns: U V is the best low rank of W − S, S the largest entries of W − U V (GoDec; Zhou & Tao 2011, ICML). Each
// turn is the best for the other part, so that the error never rises. Both parts learn afterwards, S on its pattern.
//
// Ranks are chosen as if S were not there, but for its multiplies: those by energy or error keep what they promise.
#include <algorithm>
#include <numeric>

#include "bertx/sum_weight.h"
#include "factorization/factorizer.h"
#include "factorization/methods.h"

namespace bertx::compress {
namespace {

// The `count` entries of the largest magnitude, of equals the first; 0 elsewhere.
Matrix largest_entries(const Matrix& from, std::int64_t count) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(from.size()));
  std::iota(order.begin(), order.end(), 0);
  const double* const x = from.data();
  const auto end = order.begin() + std::min<std::int64_t>(count, from.size());
  std::nth_element(order.begin(), end, order.end(), [&](std::int64_t a, std::int64_t b) {
    const double left = std::abs(x[a]), right = std::abs(x[b]);
    return left > right || (left == right && a < b);
  });
  Matrix kept = Matrix::Zero(from.rows(), from.cols());
  for (auto i = order.begin(); i != end; ++i) kept.data()[*i] = x[*i];
  return kept;
}

}  // namespace

LowRankAndSparse low_rank_and_sparse(const Matrix& w, std::int64_t rank, std::int64_t nonzeros,
                                     std::int64_t alternations) {
  LowRankAndSparse out;
  out.sparse = Matrix::Zero(w.rows(), w.cols());
  for (std::int64_t turn = 0; turn <= alternations; ++turn) {
    const Matrix rest = w - out.sparse;
    out.factors = truncate(rest, decompose(rest, plain_metric()), rank);
    out.sparse = largest_entries(w - out.factors.u * out.factors.v, nonzeros);
  }
  return out;
}

void low_rank_sparse_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration&) {
  Factorizer factorizer(backend, model, recipe, 1.0 - recipe.remainder_sparsity);
  for (const Target& target : factorizer.targets()) {
    const Matrix w = matrix_of(backend, *target.weight);
    const std::int64_t rank = factorizer.rank_of(target, decompose(w, plain_metric()).energies);
    if (rank == 0) continue;
    const LowRankAndSparse found = low_rank_and_sparse(w, rank, target.cost.beside, recipe.alternations);
    const auto factors = low_rank_weight(backend, found.factors);
    const auto sparse = CsrWeight::from_dense(backend, parameter_of(backend, found.sparse)->tensor());
    factorizer.put(target, std::make_shared<SumWeight>(factors, sparse));
  }
  factorizer.keep();
}

}  // namespace bertx::compress
