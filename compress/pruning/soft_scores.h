// What methods have in common whose scores are pushed down by a penalty, so that the sparsity is a result: soft
// movement, block movement, L0.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "bertx/compress.h"

namespace bertx::compress {

/// mask = 1 where σ(score) > threshold; at least 0.5 % and one of `size` are kept, as the paper's code has it.
void keep_above(const float* scores, std::uint8_t* mask, std::int64_t size, double threshold);

/// Share of its final value that threshold and penalty have: 0 at schedule_begin, along the cubic, 1 from schedule_end.
double risen(const Recipe& recipe, const TrainState& state);

/// Adds the gradient of weight · mean over tensors of mean σ(S + shift); returns its value.
double add_penalty(Backend& backend, std::span<Parameter* const> scores, double weight, double shift = 0.0);

/// The weight λ of the penalty: the recipe's `regularization`, or so that the share of zeros follows the cubic
/// towards the recipe's sparsity, as where weights are ranked.
class Steering {
 public:
  Steering(const Recipe& recipe, double first_lambda);
  double lambda() const;
  /// After the zeros of a step are known.
  void steer(const TrainState& state, double share);
  std::string save() const;
  void load(const std::string& json);

 private:
  Recipe recipe_;
  double slow_share_ = 0, log_lambda_, error_ = 0;
};

/// Such a method in training.
class SoftScores : public TrainHook {
 public:
  std::string save() const final { return steering_.save(); }
  void load(const std::string& json) final { steering_.load(json); }
  std::vector<std::pair<std::string, double>> figures() const final {
    return {{"sparsity", share_}, {"regularization", steering_.lambda()}};
  }

 protected:
  SoftScores(const Recipe& recipe, double first_lambda) : recipe_(recipe), steering_(recipe, first_lambda) {}

  Recipe recipe_;
  Steering steering_;
  double risen_ = 0, share_ = 0;  ///< of the step at hand; of zeros
};

}  // namespace bertx::compress
