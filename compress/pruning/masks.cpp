#include "pruning/masks.h"

#include <deque>
#include <unordered_map>
#include <unordered_set>

#include "bertx/error.h"

namespace bertx::compress {

std::vector<MaskedMatrix> masked_matrices(Model& model) {
  std::vector<MaskedMatrix> found;
  std::unordered_set<const LinearWeight*> seen;
  model.visit_linears([&](const std::string& path, Linear& linear) {
    auto* masked = dynamic_cast<MaskedWeight*>(linear.weight.get());
    if (masked && seen.insert(masked).second) found.push_back({path, masked});
  });
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

void mask_weights(Backend& backend, Model& model, bool with_scores) {
  replace_weights(model, [&](const std::string& path, const Linear& linear) -> std::shared_ptr<LinearWeight> {
    if (linear.weight->kind() == "masked") return linear.weight;
    return std::make_shared<MaskedWeight>(backend, dense_parameter(backend, path, *linear.weight, "to prune"),
                                          with_scores);
  });
}

void mask_weights_with_scores(Backend& backend, Model& model, const Recipe& recipe, double default_rate) {
  mask_weights(backend, model, true);
  for (const MaskedMatrix& matrix : masked_matrices(model)) {
    matrix.weight->scores()->learning_rate_factor =
        recipe.score_learning_rate.value_or(default_rate) / recipe.learning_rate;
  }
}

void finalize_masks(Backend& backend, Model& model, double least) {
  replace_weights(model, [&](const std::string&, const Linear& linear) -> std::shared_ptr<LinearWeight> {
    auto* masked = dynamic_cast<MaskedWeight*>(linear.weight.get());
    if (!masked) return linear.weight;
    std::shared_ptr<LinearWeight> real;
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
