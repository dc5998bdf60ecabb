// Linear maps that show their inputs for a while.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "calibration/examples.h"

namespace bertx::compress {

/// Stands in a Linear for another weight and shows what comes in. Forward only.
class SeeingWeight final : public LinearWeight {
 public:
  SeeingWeight(std::shared_ptr<LinearWeight> weight, std::function<void(Tensor x)> seen)
      : weight_(std::move(weight)), seen_(std::move(seen)) {}
  std::int64_t out() const override { return weight_->out(); }
  std::int64_t in() const override { return weight_->in(); }
  std::string_view kind() const override { return weight_->kind(); }
  void apply(Exec& exec, Tensor x, Tensor y, const Epilogue& epilogue) const override {
    seen_(x);
    weight_->apply(exec, x, y, epilogue);
  }
  void apply_grad(Exec& exec, Tensor x, Tensor dy, Tensor dx, Write write) override {
    weight_->apply_grad(exec, x, dy, dx, write);
  }
  void visit(const std::string& path, const Visit& parameter) override { weight_->visit(path, parameter); }
  void materialize(Backend& backend, Tensor out_matrix) const override { weight_->materialize(backend, out_matrix); }
  std::int64_t multiplies() const override { return weight_->multiplies(); }
  std::int64_t nonzeros(Backend& backend) const override { return weight_->nonzeros(backend); }
  std::string kernel() const override { return weight_->kernel(); }
  const std::shared_ptr<LinearWeight>& weight() const { return weight_; }

 private:
  std::shared_ptr<LinearWeight> weight_;
  std::function<void(Tensor x)> seen_;
};

/// The linear maps show their inputs while this lives.
class Seeing {
 public:
  explicit Seeing(const InputSeen& seen) : seen_(seen) {}
  Seeing(const Seeing&) = delete;
  Seeing& operator=(const Seeing&) = delete;
  ~Seeing() {
    for (Linear* linear : linears_) linear->weight = static_cast<SeeingWeight&>(*linear->weight).weight();
  }

  void add(const std::string& path, Linear& linear) {
    linear.weight = std::make_shared<SeeingWeight>(linear.weight,
                                                   [&linear, path, seen = seen_](Tensor x) { seen(path, linear, x); });
    linears_.push_back(&linear);
  }

 private:
  InputSeen seen_;
  std::vector<Linear*> linears_;
};

}  // namespace bertx::compress
