// Matrices of the encoder on their way to factors: what the methods that take each matrix by itself have in common.
//
// A weight of whatever kind is factorised as the numbers that it acts with: W∘M of a masked one, U V of a low rank. Its
// factors have to multiply less than it does, which of a sparse one are its nonzeros. One that several maps share is
// factorised once. Weights that share a part of theirs, as in Tucker's form, are refused: what is common would be lost.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "bertx/compress.h"
#include "factorization/decompose.h"
#include "factorization/product_time.h"
#include "factorization/rank.h"

namespace bertx::compress {

/// One matrix, and all linear maps that use it.
struct Target {
  std::string path;  ///< of the first map
  std::shared_ptr<LinearWeight> weight;
  std::vector<Linear*> linears;
  std::vector<std::size_t> layers;  ///< of the maps
  RankCost cost;
};

/// Puts factors into a model; what it was comes back unless `keep` is called.
class Factorizer {
 public:
  /// `sparse_share`: of the numbers of each matrix, for a sparse part beside its factors. Throws Error(usage) where the
  /// recipe asks for ranks that the matrices do not have, or for one at which every matrix would stay as it is.
  Factorizer(Backend& backend, Model& model, const Recipe& recipe, double sparse_share = 0.0,
             SpeedUp speed_up = measured_speed_up);
  ~Factorizer();
  Factorizer(const Factorizer&) = delete;
  Factorizer& operator=(const Factorizer&) = delete;

  /// Those that have numbers.
  const std::vector<Target>& targets() const { return targets_; }
  /// Null: the matrix that the map had at first has no numbers.
  const Target* target_of(const Linear& linear) const;
  std::size_t index_of(const Target& target) const { return static_cast<std::size_t>(&target - targets_.data()); }
  /// Maps of different layers use one matrix.
  bool layers_share() const;

  /// As choose_rank says; 0: it stays.
  std::int64_t rank_of(const Target& target, const Eigen::VectorXd& energies);
  /// The best factors in this metric of the inputs, where the matrix is not to stay.
  void factorize(const Target& target, const Metric& metric);
  /// In the place of the matrix, in all maps.
  void put(const Target& target, const std::shared_ptr<LinearWeight>& weight);
  void keep();

 private:
  Backend& backend_;
  Model& model_;
  const Recipe& recipe_;
  SpeedUp speed_up_;
  std::vector<Target> targets_;
  std::unordered_map<const Linear*, std::size_t> target_of_;
  bool keep_ = false;
  /// What was measured, so that matrices that cost the same are timed once: kind, rows, columns, multiplies, rank.
  std::map<std::tuple<std::string, std::int64_t, std::int64_t, std::int64_t, std::int64_t>, bool> fast_;
};

}  // namespace bertx::compress
