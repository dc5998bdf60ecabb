// W∘M with gates M between 0 and 1 that learn with the weights: L0 regularization by hard concrete gates (Louizos,
// Welling & Kingma 2018, 1712.01312), with the constants of Sanh, Wolf & Rush 2020 (2005.07683).
#pragma once

#include <optional>

#include "bertx/weight.h"

namespace bertx {

/// M = clamp(1.2 s - 0.1, 0, 1), so that both ends are met exactly; s is a concrete random number with the log odds S:
/// s = σ((ln u - ln(1 - u) + S) / β) with u ~ U(1e-4, 1 - 1e-4), β = 2/3, where a step of training draws it, and σ(S)
/// elsewhere. Gradients pass the clamp where 0 < M < 1.
class GatedWeight final : public LinearWeight {
 public:
  static constexpr double low = -0.1, high = 1.1, beta = 2.0 / 3.0;
  static constexpr double first_score = 2.197;  ///< σ = 0.9

  /// `scores` S have the shape of w; null: first_score everywhere.
  GatedWeight(Backend& backend, std::shared_ptr<Parameter> w, std::shared_ptr<Parameter> scores = nullptr);
  std::int64_t out() const override { return w_->tensor().rows; }
  std::int64_t in() const override { return w_->tensor().cols; }
  std::string_view kind() const override { return "gated"; }
  void apply(Exec& exec, Tensor x, Tensor y, const Epilogue& epilogue) const override;
  void apply_grad(Exec& exec, Tensor x, Tensor dy, Tensor dx, Write write) override;
  void visit(const std::string& path, const Visit& parameter) override;  ///< path, path + ".scores"
  void refresh(Backend& backend) override;                               ///< gates without noise
  /// Gates with noise, a pure function of (seed, row, column), until the next refresh().
  void draw(Backend& backend, std::uint64_t seed);
  void materialize(Backend& backend, Tensor out_matrix) const override;
  std::size_t derived_bytes() const override {
    return gates_.buffer.bytes + slopes_.buffer.bytes + effective_.buffer.bytes;
  }
  std::int64_t multiplies() const override { return out() * in(); }
  std::int64_t nonzeros(Backend& backend) const override;  ///< gates that are not 0
  std::string kernel() const override { return "dense (gated)"; }
  const std::shared_ptr<Parameter>& parameter() const { return w_; }
  Parameter& scores() { return *scores_; }
  Tensor gates() const { return gates_.tensor; }

 private:
  void set_gates(Backend& backend, std::optional<std::uint64_t> seed);

  std::shared_ptr<Parameter> w_, scores_;
  Storage gates_, slopes_, effective_;  ///< M, dM/dS, W∘M
};

}  // namespace bertx
