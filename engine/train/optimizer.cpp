#include "train/optimizer.h"

#include <algorithm>
#include <cmath>

namespace bertx {
namespace {

/// Nothing but the embeddings gives `word` a gradient: no decoder shares it.
bool alone(Model& model, const Parameter& word) {
  int paths = 0;
  model.visit_every_path([&](const std::string&, Parameter& p) { paths += &p == &word; });
  return paths == 1;
}

}  // namespace

Optimizer::Optimizer(Backend& backend, Model& model, const TrainOptions& options, Objective* objective)
    : backend_(backend), max_grad_norm_(options.max_grad_norm) {
  hyper_.beta1 = options.adam_beta1;
  hyper_.beta2 = options.adam_beta2;
  hyper_.eps = options.adam_epsilon;
  hyper_.bias_correction = options.adam_bias_correction;
  model.zero_gradients(backend);
  if (objective) objective->visit([&](const std::string&, Parameter& p) { p.zero_gradient(backend); });
  const Parameter* const word = alone(model, *model.embeddings.word) ? model.embeddings.word.get() : nullptr;
  const Visit add = [&](const std::string& path, Parameter& p) {
    const Tensor value = p.tensor();
    if (p.frozen || value.size() == 0) return;
    Entry entry{path, make_storage(backend, value.rows, value.cols, value.dtype),
                make_storage(backend, value.rows, value.cols, value.dtype), p.gradient()};
    const AdamWItem item{value,
                         entry.gradient,
                         entry.first_moment.tensor,
                         entry.second_moment.tensor,
                         p.decay ? options.weight_decay : 0.0,
                         p.learning_rate_factor};
    if (&p == word) {
      word_.whole = item;
      word_.now.assign(static_cast<std::size_t>(value.rows), 0);
      word_.ever.assign(static_cast<std::size_t>(value.rows), 0);
    } else {
      items_.push_back(item);
    }
    entries_.push_back(std::move(entry));
  };
  model.visit(add);
  if (objective) objective->visit(add);
}

void Optimizer::use_word_rows(std::span<const std::int32_t> ids) {
  if (word_.now.empty()) return;
  for (const std::int32_t id : ids) word_.now[static_cast<std::size_t>(id)] = 1;
  word_.narrowed = true;
}

/// Fills update_items_ and gradients_. Successive rows of one kind are one item.
void Optimizer::gather() {
  update_items_ = items_;
  if (!word_.narrowed) std::fill(word_.now.begin(), word_.now.end(), std::uint8_t{1});
  const std::size_t rows = word_.now.size();
  for (std::size_t row = 0; row < rows; ++row) word_.ever[row] |= word_.now[row];
  for (std::size_t first = 0, last = 0; first < rows; first = last) {
    const bool now = word_.now[first] != 0, ever = word_.ever[first] != 0;
    while (last < rows && (word_.now[last] != 0) == now && (word_.ever[last] != 0) == ever) ++last;
    if (!ever && word_.whole.weight_decay == 0) continue;  // nothing acts on it
    const auto part = [&](Tensor x) {
      return x.row_range(static_cast<std::int64_t>(first), static_cast<std::int64_t>(last - first));
    };
    AdamWItem item = word_.whole;
    item.value = part(item.value);
    item.gradient = now ? part(item.gradient) : Tensor{};
    item.first_moment = ever ? part(item.first_moment) : Tensor{};
    item.second_moment = ever ? part(item.second_moment) : Tensor{};
    update_items_.push_back(item);
  }
  gradients_.clear();
  for (const AdamWItem& item : update_items_) {
    if (!item.gradient.empty()) gradients_.push_back(item.gradient);
  }
}

double Optimizer::gradient_norm() {
  gather();
  return std::sqrt(backend_.sum_of_squares(gradients_));
}

std::string Optimizer::find_bad_gradient() {
  for (const Entry& entry : entries_) {
    if (!std::isfinite(backend_.sum_of_squares({&entry.gradient, 1}))) return entry.path;
  }
  return {};
}

void Optimizer::update(double learning_rate, std::int64_t step, double norm) {
  hyper_.learning_rate = learning_rate;
  hyper_.step = step;
  hyper_.gradient_scale = clip_coefficient(norm, max_grad_norm_);
  gather();
  backend_.adamw(hyper_, update_items_);
  std::fill(word_.now.begin(), word_.now.end(), std::uint8_t{0});
  word_.narrowed = false;
}

void Optimizer::moments_were_loaded() {
  const auto mark = [&](Tensor moment) {
    const std::size_t cols = static_cast<std::size_t>(moment.cols);
    std::vector<double> host(static_cast<std::size_t>(moment.size()));
    backend_.download(moment, view(host.data(), moment.rows, moment.cols, DType::f64));
    for (std::size_t i = 0; i < host.size(); ++i) word_.ever[i / cols] |= host[i] != 0;
  };
  if (word_.ever.empty()) return;
  std::fill(word_.ever.begin(), word_.ever.end(), std::uint8_t{0});
  mark(word_.whole.first_moment);
  mark(word_.whole.second_moment);
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
