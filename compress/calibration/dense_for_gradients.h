// Gradients of the encoder's matrices as numbers, whatever kind of weight they are.
#pragma once

#include <unordered_map>
#include <utility>
#include <vector>

#include "calibration/examples.h"

namespace bertx::compress {

/// While it lives the linear maps of the encoder hold dense weights of the same numbers, and nothing has a gradient but
/// those of them that the user gives one. Gradients that were there, as a training has them, come back afterwards.
class DenseForGradients {
 public:
  DenseForGradients(Backend& backend, Model& model) {
    model.refresh(backend);  // stacked products would go past the single maps
    model.visit([&](const std::string&, Parameter& p) {
      kept_.emplace_back(&p, std::move(p.grad));
      p.grad = {};
    });
    std::unordered_map<const LinearWeight*, std::shared_ptr<LinearWeight>> made;
    model.visit_linears([&](const std::string&, Linear& linear) {
      const LinearWeight& weight = *linear.weight;
      std::shared_ptr<LinearWeight>& dense = made[&weight];
      if (!dense) {
        auto w = std::make_shared<Parameter>();
        w->value = make_storage(backend, weight.out(), weight.in(), backend.real());
        weight.materialize(backend, w->tensor());
        parameters_[&weight] = w.get();
        dense = std::make_shared<DenseWeight>(std::move(w), false);
      }
      weights_.emplace_back(&linear, linear.weight);
      linear.weight = dense;
    });
  }
  DenseForGradients(const DenseForGradients&) = delete;
  DenseForGradients& operator=(const DenseForGradients&) = delete;
  ~DenseForGradients() {
    for (auto& [linear, weight] : weights_) linear->weight = weight;
    for (auto& [parameter, gradient] : kept_) parameter->grad = std::move(gradient);
  }

  /// The dense matrix that stands for a weight.
  Parameter& parameter(const LinearWeight& weight) { return *parameters_.at(&weight); }

 private:
  std::vector<std::pair<Parameter*, Storage>> kept_;
  std::vector<std::pair<Linear*, std::shared_ptr<LinearWeight>>> weights_;
  std::unordered_map<const LinearWeight*, Parameter*> parameters_;
};

}  // namespace bertx::compress
