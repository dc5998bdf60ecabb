// The masked matrices of a model during training, and how a ranking sets their masks.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "bertx/compress.h"
#include "pruning/selection.h"

namespace bertx::compress {

struct MaskedMatrix {
  std::string path;
  MaskedWeight* weight = nullptr;
};
/// The encoder's masked weights, shared ones once.
std::vector<MaskedMatrix> masked_matrices(Model& model);

/// The encoder's weights of one kind, shared ones once.
template <class Weight>
std::vector<Weight*> weights_of_kind(Model& model) {
  std::vector<Weight*> found;
  std::unordered_set<const LinearWeight*> seen;
  model.visit_linears([&](const std::string&, Linear& linear) {
    auto* weight = dynamic_cast<Weight*>(linear.weight.get());
    if (weight && seen.insert(weight).second) found.push_back(weight);
  });
  return found;
}
/// Share of zeros in them.
template <class Weight>
double share_of_zeros(Backend& backend, Model& model) {
  std::int64_t kept = 0, total = 0;
  for (const Weight* weight : weights_of_kind<Weight>(model)) {
    kept += weight->nonzeros(backend);
    total += weight->out() * weight->in();
  }
  return total == 0 ? 0.0 : 1.0 - static_cast<double>(kept) / static_cast<double>(total);
}

/// A real tensor as floats on the host: a view where it lies there already, else a copy.
class HostFloats {
 public:
  HostFloats(Backend& backend, Tensor x);
  const float* data() const { return data_; }

 private:
  std::vector<float> copy_;
  const float* data_;
};

/// Calls change(mask on the host, size), then brings the mask to the backend and refreshes the weight.
void change_mask(Backend& backend, MaskedWeight& weight,
                 const std::function<void(std::uint8_t* mask, std::int64_t)>& change);

/// Sets the masks of the masked weights by the magnitudes of their weights, or by the values of their scores.
void rank_masks(Backend& backend, Model& model, double sparsity, const Selection& how, Key key);
/// The same by keys from elsewhere: of each of masked_matrices(model) its size, row by row.
void rank_masks(Backend& backend, Model& model, double sparsity, const Selection& how, Key key,
                std::span<const float* const> keys);

/// Puts make(path, map) into every linear map of the encoder, for a weight that several share once. Where it throws the
/// model is as it was.
void replace_weights(
    Model& model, const std::function<std::shared_ptr<LinearWeight>(const std::string& path, const Linear& map)>& make);
/// The numbers of a dense, csr or masked weight as a dense parameter; of a dense one its own. Throws Error(usage) that
/// names `path` and what it was wanted for.
std::shared_ptr<Parameter> dense_parameter(Backend& backend, const std::string& path, LinearWeight& weight,
                                           std::string_view purpose);

/// mask_weights with scores, which learn on the trainer's schedule, at the recipe's score_learning_rate or 0.01. Where
/// the recipe has a score_start, a training that begins (one that resumes has its scores) sets them to
/// S = score_start · |W| / rms(W), each matrix for itself.
void mask_weights_with_scores(Backend& backend, Model& model, const Recipe& recipe, const TrainState& state);

/// Share of zeros that the masks make.
double masked_share(Backend& backend, Model& model);

}  // namespace bertx::compress
