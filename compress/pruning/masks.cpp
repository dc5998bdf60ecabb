#include "pruning/masks.h"

#include <cmath>
#include <deque>
#include <unordered_map>
#include <unordered_set>

#include "bertx/error.h"
#include "bertx/sum_weight.h"
#include "weights/parts.h"

namespace bertx::compress {

std::vector<MaskedMatrix> masked_matrices(Model& model) {
  std::vector<MaskedMatrix> found;
  std::unordered_set<const LinearWeight*> seen;
  const std::function<void(const std::string&, LinearWeight&)> look = [&](const std::string& path, LinearWeight& w) {
    if (!seen.insert(&w).second) return;
    if (auto* masked = dynamic_cast<MaskedWeight*>(&w)) found.push_back({path, masked});
    for (const WeightPart& part : parts_of(w)) look(path + std::string(part.suffix), *part.weight);
  };
  model.visit_linears([&](const std::string& path, Linear& linear) { look(path, *linear.weight); });
  return found;
}

HostFloats::HostFloats(Backend& backend, Tensor x) {
  if (backend.host_memory() && x.dtype == DType::f32 && x.contiguous()) {
    data_ = x.as<float>();
    return;
  }
  copy_.resize(static_cast<std::size_t>(x.size()));
  if (!copy_.empty()) backend.download(x, view(copy_.data(), x.rows, x.cols, DType::f32));
  data_ = copy_.data();
}

namespace {

// A mask on the host while it changes; `store` brings it back.
class HostMask {
 public:
  HostMask(Backend& backend, MaskedWeight& weight) : backend_(backend), weight_(weight) {
    const Tensor mask = weight.mask().tensor;
    if (backend.host_memory()) {
      data_ = mask.as<std::uint8_t>();
      return;
    }
    copy_.resize(static_cast<std::size_t>(mask.size()));
    backend.download(mask, view(copy_.data(), mask.rows, mask.cols, DType::u8));
    data_ = copy_.data();
  }
  std::uint8_t* data() { return data_; }
  void store() {
    const Tensor mask = weight_.mask().tensor;
    if (!copy_.empty()) backend_.upload(view(copy_.data(), mask.rows, mask.cols, DType::u8), mask);
    weight_.refresh(backend_);
  }

 private:
  Backend& backend_;
  MaskedWeight& weight_;
  std::vector<std::uint8_t> copy_;
  std::uint8_t* data_;
};

}  // namespace

void change_mask(Backend& backend, MaskedWeight& weight,
                 const std::function<void(std::uint8_t*, std::int64_t)>& change) {
  HostMask mask(backend, weight);
  change(mask.data(), weight.mask().tensor.size());
  mask.store();
}

void rank_masks(Backend& backend, Model& model, double sparsity, const Selection& how, Key key) {
  std::deque<HostFloats> copies;
  std::vector<const float*> keys;
  for (const MaskedMatrix& matrix : masked_matrices(model)) {
    copies.emplace_back(
        backend, key == Key::magnitude ? matrix.weight->parameter()->tensor() : matrix.weight->scores()->tensor());
    keys.push_back(copies.back().data());
  }
  rank_masks(backend, model, sparsity, how, key, keys);
}

void rank_masks(Backend& backend, Model& model, double sparsity, const Selection& how, Key key,
                std::span<const float* const> keys) {
  std::deque<HostMask> masks;
  std::vector<Candidates> candidates;
  for (const MaskedMatrix& matrix : masked_matrices(model)) {
    masks.emplace_back(backend, *matrix.weight);
    candidates.push_back({keys[candidates.size()], masks.back().data(), matrix.weight->out(), matrix.weight->in()});
  }
  select(candidates, sparsity, how, key);
  for (HostMask& mask : masks) mask.store();
}

double masked_share(Backend& backend, Model& model) { return share_of_zeros<MaskedWeight>(backend, model); }

// ---- between representations ----------------------------------------------------------------------------------------

void replace_weights(
    Model& model,
    const std::function<std::shared_ptr<LinearWeight>(const std::string& path, const Linear& map)>& make) {
  std::unordered_map<const LinearWeight*, std::shared_ptr<LinearWeight>> made;
  std::vector<std::pair<Linear*, std::shared_ptr<LinearWeight>>> changes;
  model.visit_linears([&](const std::string& path, Linear& linear) {
    std::shared_ptr<LinearWeight>& other = made[linear.weight.get()];
    if (!other) other = make(path, linear);
    changes.emplace_back(&linear, other);
  });
  for (auto& [linear, weight] : changes) linear->weight = std::move(weight);
}

std::shared_ptr<Parameter> dense_parameter(Backend& backend, const std::string& path, LinearWeight& weight,
                                           std::string_view purpose) {
  if (auto* dense = dynamic_cast<DenseWeight*>(&weight)) return dense->parameter();
  if (weight.kind() != "csr" && weight.kind() != "masked") {
    fail(ErrorKind::usage, path, ": found a weight of kind ", weight.kind(), ", expected dense or csr ", purpose);
  }
  auto w = std::make_shared<Parameter>();
  w->value = make_storage(backend, weight.out(), weight.in(), backend.real());
  weight.materialize(backend, w->tensor());
  return w;
}

namespace {

using Weight = std::shared_ptr<LinearWeight>;
using MakeWeight = std::function<Weight(const std::string& path, const Weight& weight)>;

// Factors and terms are replaced in the place of the whole, each weight once, wherever it is used.
class PartReplacer {
 public:
  explicit PartReplacer(const MakeWeight& make) : make_(make) {}

  Weight operator()(const std::string& path, const Weight& weight) {
    Weight& other = made_[weight.get()];
    if (other) return other;
    if (const auto* low_rank = dynamic_cast<const LowRankWeight*>(weight.get())) {
      return other = whole<LowRankWeight>(weight, path + ".u", low_rank->u(), path + ".v", low_rank->v());
    }
    if (const auto* sum = dynamic_cast<const SumWeight*>(weight.get())) {
      return other = whole<SumWeight>(weight, path + ".first", sum->first(), path + ".second", sum->second());
    }
    return other = make_(path, weight);
  }

 private:
  template <class Whole>
  Weight whole(const Weight& old, const std::string& path_a, const Weight& a, const std::string& path_b,
               const Weight& b) {
    const Weight new_a = (*this)(path_a, a), new_b = (*this)(path_b, b);
    return new_a == a && new_b == b ? old : std::make_shared<Whole>(new_a, new_b);
  }

  const MakeWeight& make_;
  std::unordered_map<const LinearWeight*, Weight> made_;
};

void replace_parts(Model& model, const MakeWeight& make) {
  PartReplacer replacer(make);
  replace_weights(model, [&](const std::string& path, const Linear& map) { return replacer(path, map.weight); });
}

}  // namespace

void mask_weights(Backend& backend, Model& model, bool with_scores) {
  replace_parts(model, [&](const std::string& path, const Weight& weight) -> Weight {
    if (weight->kind() == "masked") return weight;
    return std::make_shared<MaskedWeight>(backend, dense_parameter(backend, path, *weight, "to prune"), with_scores);
  });
}

namespace {

void start_scores_at_magnitudes(Backend& backend, Model& model, double factor) {
  for (const MaskedMatrix& matrix : masked_matrices(model)) {
    const HostFloats w(backend, matrix.weight->parameter()->tensor());
    const std::int64_t rows = matrix.weight->out(), cols = matrix.weight->in();
    double squares = 0;
    for (std::int64_t i = 0; i < rows * cols; ++i)
      squares += static_cast<double>(w.data()[i]) * static_cast<double>(w.data()[i]);
    if (squares == 0) continue;
    const double scale = factor / std::sqrt(squares / static_cast<double>(rows * cols));
    std::vector<double> scores;
    for (std::int64_t i = 0; i < rows * cols; ++i) scores.push_back(scale * std::abs(static_cast<double>(w.data()[i])));
    backend.upload(view(scores.data(), rows, cols, DType::f64), matrix.weight->scores()->tensor());
  }
}

}  // namespace

void mask_weights_with_scores(Backend& backend, Model& model, const Recipe& recipe, const TrainState& state) {
  mask_weights(backend, model, true);
  for (const MaskedMatrix& matrix : masked_matrices(model)) {
    matrix.weight->scores()->learning_rate_factor = recipe.score_learning_rate.value_or(1e-2) / recipe.learning_rate;
  }
  if (!state.resumed && recipe.score_start > 0) start_scores_at_magnitudes(backend, model, recipe.score_start);
}

void finalize_masks(Backend& backend, Model& model, double least) {
  replace_parts(model, [&](const std::string&, const Weight& weight) -> Weight {
    auto* masked = dynamic_cast<MaskedWeight*>(weight.get());
    if (!masked) return weight;
    Weight real;
    const double elements = static_cast<double>(masked->out() * masked->in());
    if (elements > 0 && 1.0 - static_cast<double>(masked->nonzeros(backend)) / elements >= least) {
      real = CsrWeight::from_dense(backend, masked->parameter()->tensor(), masked->mask().tensor);
    } else {
      auto w = std::make_shared<Parameter>();
      w->value = make_storage(backend, masked->out(), masked->in(), backend.real());
      masked->materialize(backend, w->tensor());
      real = std::make_shared<DenseWeight>(std::move(w));
    }
    real->refresh(backend);
    return real;
  });
}

}  // namespace bertx::compress
