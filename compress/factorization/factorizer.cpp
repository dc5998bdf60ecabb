#include "factorization/factorizer.h"

#include <algorithm>
#include <random>

#include "bertx/error.h"
#include "bertx/sum_weight.h"

namespace bertx::compress {
namespace {

constexpr std::size_t linears_of_a_layer = 6;

// Parts that two matrices have in common.
void refuse_shared_parts(const std::vector<Target>& targets) {
  std::unordered_map<const Parameter*, std::string> seen;
  for (const Target& target : targets) {
    target.weight->visit(target.path, [&](const std::string&, Parameter& p) {
      const auto [at, is_new] = seen.emplace(&p, target.path);
      if (is_new || at->second == target.path) return;
      fail(ErrorKind::usage, target.path, ": found a weight of kind ", target.weight->kind(),
           " that has a part in common with ", at->second,
           ", expected matrices of their own: factors of each would lose what they share");
    });
  }
}

Matrix random_numbers(std::int64_t rows, std::int64_t cols, std::mt19937_64& engine) {
  std::uniform_real_distribution<double> any(-1.0, 1.0);
  return Matrix::NullaryExpr(rows, cols, [&] { return any(engine); });
}

// What a target would become at a rank, with any numbers.
std::shared_ptr<LinearWeight> any_factors(Backend& backend, const RankCost& cost, std::int64_t rank) {
  std::mt19937_64 engine(1);
  const auto factors =
      low_rank_weight(backend, {random_numbers(cost.out, rank, engine), random_numbers(rank, cost.in, engine)});
  if (cost.beside == 0) return factors;
  const double share = static_cast<double>(cost.beside) / static_cast<double>(cost.out * cost.in);
  std::bernoulli_distribution chance(share);
  const Matrix sparse = Matrix::NullaryExpr(cost.out, cost.in, [&] { return chance(engine) ? 1.0 : 0.0; });
  auto sum =
      std::make_shared<SumWeight>(factors, CsrWeight::from_dense(backend, parameter_of(backend, sparse)->tensor()));
  sum->refresh(backend);
  return sum;
}

}  // namespace

Factorizer::Factorizer(Backend& backend, Model& model, const Recipe& recipe, double sparse_share, SpeedUp speed_up)
    : backend_(backend), model_(model), recipe_(recipe), speed_up_(std::move(speed_up)) {
  check_rank_options(recipe);
  std::unordered_map<const LinearWeight*, std::size_t> known;
  std::size_t map = 0;
  model.visit_linears([&](const std::string& path, Linear& linear) {
    const std::size_t layer = map++ / linears_of_a_layer;
    const LinearWeight& weight = *linear.weight;
    const std::int64_t size = weight.out() * weight.in();
    if (size == 0) return;
    const auto [at, is_new] = known.emplace(&weight, targets_.size());
    if (is_new) {
      const auto beside = static_cast<std::int64_t>(sparse_share * static_cast<double>(size));
      targets_.push_back({path, linear.weight, {}, {}, {path, weight.out(), weight.in(), weight.multiplies(), beside}});
    }
    target_of_[&linear] = at->second;
    targets_[at->second].linears.push_back(&linear);
    targets_[at->second].layers.push_back(layer);
  });
  refuse_shared_parts(targets_);

  std::int64_t most = 0;
  for (const Target& target : targets_) {
    check_rank(target.cost, recipe);
    most = std::max(most, target.cost.most(recipe));
  }
  if (recipe.rank && *recipe.rank > most) {
    fail(ErrorKind::usage, "rank: found ", *recipe.rank, ", expected at most ", most,
         ": above it the factors of every matrix multiply more than it (allow_slower takes them)");
  }
}

Factorizer::~Factorizer() {
  if (keep_) return;
  for (const Target& target : targets_) {
    for (Linear* linear : target.linears) linear->weight = target.weight;
  }
  model_.refresh(backend_);
}

const Target* Factorizer::target_of(const Linear& linear) const {
  const auto found = target_of_.find(&linear);
  return found == target_of_.end() ? nullptr : &targets_[found->second];
}

bool Factorizer::layers_share() const {
  return std::ranges::any_of(targets_, [](const Target& target) {
    return std::ranges::any_of(target.layers, [&](std::size_t layer) { return layer != target.layers.front(); });
  });
}

std::int64_t Factorizer::rank_of(const Target& target, const Eigen::VectorXd& energies) {
  const RankCost& cost = target.cost;
  return choose_rank(cost, recipe_, energies, [&](std::int64_t rank) {
    const auto [at, is_new] =
        fast_.try_emplace({std::string(target.weight->kind()), cost.out, cost.in, cost.whole, rank}, false);
    if (is_new) {
      const double speed_up = speed_up_(backend_, *target.weight, *any_factors(backend_, cost, rank));
      at->second = speed_up >= recipe_.speed_up;
    }
    return at->second;
  });
}

void Factorizer::factorize(const Target& target, const Metric& metric) {
  if (recipe_.rank && *recipe_.rank > target.cost.most(recipe_)) return;  // it stays, whatever its spectrum
  const Matrix w = matrix_of(backend_, *target.weight);
  const Spectrum spectrum = decompose(w, metric);
  const std::int64_t rank = rank_of(target, spectrum.energies);
  if (rank > 0) put(target, low_rank_weight(backend_, truncate(w, spectrum, rank)));
}

void Factorizer::put(const Target& target, const std::shared_ptr<LinearWeight>& weight) {
  for (Linear* linear : target.linears) linear->weight = weight;
}

void Factorizer::keep() {
  keep_ = true;
  model_.refresh(backend_);
}

}  // namespace bertx::compress
