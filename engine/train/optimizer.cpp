#include "train/optimizer.h"

#include <algorithm>
#include <cmath>

namespace bertx {

Optimizer::Optimizer(Backend& backend, Model& model, const TrainOptions& options)
    : backend_(backend), max_grad_norm_(options.max_grad_norm) {
  hyper_.beta1 = options.adam_beta1;
  hyper_.beta2 = options.adam_beta2;
  hyper_.eps = options.adam_epsilon;
  hyper_.bias_correction = options.adam_bias_correction;
  model.zero_gradients(backend);
  model.visit([&](const std::string& path, Parameter& p) {
    const Tensor value = p.tensor();
    if (p.frozen || value.size() == 0) return;
    Entry entry{path, make_storage(backend, value.rows, value.cols, value.dtype),
                make_storage(backend, value.rows, value.cols, value.dtype)};
    items_.push_back({value, p.gradient(), entry.first_moment.tensor, entry.second_moment.tensor,
                      p.decay ? options.weight_decay : 0.0, p.learning_rate_factor});
    gradients_.push_back(p.gradient());
    entries_.push_back(std::move(entry));
  });
}

void Optimizer::zero_gradients() {
  for (const Tensor& gradient : gradients_) backend_.fill(gradient, 0.0);
}

double Optimizer::gradient_norm() { return std::sqrt(backend_.sum_of_squares(gradients_)); }

std::string Optimizer::find_bad_gradient() {
  for (std::size_t i = 0; i < gradients_.size(); ++i) {
    if (!std::isfinite(backend_.sum_of_squares({&gradients_[i], 1}))) return entries_[i].path;
  }
  return {};
}

void Optimizer::update(double learning_rate, std::int64_t step, double norm) {
  hyper_.learning_rate = learning_rate;
  hyper_.step = step;
  hyper_.gradient_scale = clip_coefficient(norm, max_grad_norm_);
  backend_.adamw(hyper_, items_);
}

double clip_coefficient(double norm, double max_norm) {
  return max_norm > 0 ? std::min(1.0, max_norm / (norm + 1e-6)) : 1.0;
}

std::string find_bad_parameter(Backend& backend, Model& model) {
  std::string found;
  model.visit([&](const std::string& path, Parameter& p) {
    const Tensor value = p.tensor();
    if (found.empty() && value.size() > 0 && !std::isfinite(backend.sum_of_squares({&value, 1}))) found = path;
  });
  return found;
}

}  // namespace bertx
