// W = A + B: a shared matrix and what one layer adds to it, or a low rank and its sparse remainder.
#pragma once

#include <algorithm>

#include "bertx/weight.h"

namespace bertx {

/// W = A + B, each of any kind; several sums may share a part.
class SumWeight final : public LinearWeight {
 public:
  SumWeight(std::shared_ptr<LinearWeight> first, std::shared_ptr<LinearWeight> second);
  std::int64_t out() const override { return first_->out(); }
  std::int64_t in() const override { return first_->in(); }
  std::string_view kind() const override { return "sum"; }
  void apply(Exec& exec, Tensor x, Tensor y, const Epilogue& epilogue) const override;
  void apply_grad(Exec& exec, Tensor x, Tensor dy, Tensor dx, Write write) override;
  void visit(const std::string& path, const Visit& parameter) override;          ///< path + ".first", path + ".second"
  void structure(const std::string& path, const VisitStructure& part) override;  ///< the same
  void refresh(Backend& backend) override;
  void prepare(Backend& backend) override;
  void prepare_training(Backend& backend) override;
  void materialize(Backend& backend, Tensor out_matrix) const override;
  std::size_t derived_bytes() const override { return first_->derived_bytes() + second_->derived_bytes(); }
  std::int64_t multiplies() const override { return first_->multiplies() + second_->multiplies(); }
  /// At most; the parts may have more numbers than the matrix.
  std::int64_t nonzeros(Backend& backend) const override {
    return std::min(first_->nonzeros(backend) + second_->nonzeros(backend), out() * in());
  }
  std::string kernel() const override { return first_->kernel() + " + " + second_->kernel(); }
  const std::shared_ptr<LinearWeight>& first() const { return first_; }
  const std::shared_ptr<LinearWeight>& second() const { return second_; }

 private:
  std::shared_ptr<LinearWeight> first_, second_;
};

}  // namespace bertx
