// Linear maps that show for a while what goes in and comes out, forward and backward.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "calibration/examples.h"

namespace bertx::compress {

/// What a map shows once a product is done; either may be empty. The tensors live until the call returns.
struct Shown {
  std::function<void(Tensor x, Tensor y)> forward = {};    ///< x [in, T]; y [out, T] with bias and residual
  std::function<void(Tensor x, Tensor dx)> backward = {};  ///< dx [in, T], the gradient of x
};

/// Stands in a Linear for another weight.
class SeeingWeight final : public LinearWeight {
 public:
  SeeingWeight(std::shared_ptr<LinearWeight> weight, Shown shown)
      : weight_(std::move(weight)), shown_(std::move(shown)) {}
  std::int64_t out() const override { return weight_->out(); }
  std::int64_t in() const override { return weight_->in(); }
  std::string_view kind() const override { return weight_->kind(); }
  void apply(Exec& exec, Tensor x, Tensor y, const Epilogue& epilogue) const override {
    weight_->apply(exec, x, y, epilogue);
    if (shown_.forward) shown_.forward(x, y);
  }
  void apply_grad(Exec& exec, Tensor x, Tensor dy, Tensor dx, Write write) override {
    weight_->apply_grad(exec, x, dy, dx, write);
    if (shown_.backward) shown_.backward(x, dx);
  }
  void visit(const std::string& path, const Visit& parameter) override { weight_->visit(path, parameter); }
  void materialize(Backend& backend, Tensor out_matrix) const override { weight_->materialize(backend, out_matrix); }
  std::int64_t multiplies() const override { return weight_->multiplies(); }
  std::int64_t nonzeros(Backend& backend) const override { return weight_->nonzeros(backend); }
  std::string kernel() const override { return weight_->kernel(); }
  const std::shared_ptr<LinearWeight>& weight() const { return weight_; }

 private:
  std::shared_ptr<LinearWeight> weight_;
  Shown shown_;
};

/// The linear maps show what they do while this lives; each is added once.
class Seeing {
 public:
  explicit Seeing(InputSeen seen = {}) : seen_(std::move(seen)) {}
  Seeing(const Seeing&) = delete;
  Seeing& operator=(const Seeing&) = delete;
  ~Seeing() {
    for (Linear* linear : linears_) linear->weight = static_cast<SeeingWeight&>(*linear->weight).weight();
  }

  void add(const std::string& path, Linear& linear) {
    add(linear, {.forward = [&linear, path, seen = seen_](Tensor x, Tensor) { seen(path, linear, x); }});
  }
  void add(Linear& linear, Shown shown) {
    linear.weight = std::make_shared<SeeingWeight>(linear.weight, std::move(shown));
    linears_.push_back(&linear);
  }

 private:
  InputSeen seen_;
  std::vector<Linear*> linears_;
};

}  // namespace bertx::compress
