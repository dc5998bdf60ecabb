// L0 regularization (Louizos, Welling & Kingma 2018, 1712.01312, as Sanh, Wolf & Rush 2020, 2005.07683, prune BERT with
// it): every weight has a gate (GatedWeight), drawn anew in each step from a distribution with mass at 0 and at 1, and
// the penalty λ · mean over matrices of mean P(gate > 0) = σ(S - β ln(0.1 / 1.1)) pushes gates to 0. As in soft
// movement λ is given or follows a wanted sparsity, and rises along the cubic. Evaluation and the model that comes out
// have the gates without noise, multiplied into the weights.
//
// The noise is a function of (seed, step, matrix, weight), so a resumed training draws what an uninterrupted one draws.
#include <cmath>
#include <unordered_set>

#include "bertx/gated_weight.h"
#include "pruning/masks.h"
#include "pruning/methods.h"
#include "pruning/soft_scores.h"
#include "train/update_step.h"
#include "weights/host_copy.h"

namespace bertx::compress {
namespace {

constexpr double first_lambda = 125, score_rate = 0.1;
constexpr std::uint64_t noise = 0x10C47E5;  // apart from dropout, which has the same seed
// P(gate > 0) = σ(S - β ln(-low / high))
const double shift = -GatedWeight::beta * std::log(-GatedWeight::low / GatedWeight::high);

std::vector<GatedWeight*> gated_weights(Model& model) {
  std::vector<GatedWeight*> found;
  std::unordered_set<const LinearWeight*> seen;
  model.visit_linears([&](const std::string&, Linear& linear) {
    auto* gated = dynamic_cast<GatedWeight*>(linear.weight.get());
    if (gated && seen.insert(gated).second) found.push_back(gated);
  });
  return found;
}

class L0 final : public TrainHook {
 public:
  explicit L0(const Recipe& recipe) : recipe_(recipe), steering_(recipe, first_lambda) {}

  void begin(Backend& backend, Model& model, const TrainState&) override {
    replace_weights(model, [&](const std::string& path, const Linear& linear) -> std::shared_ptr<LinearWeight> {
      if (linear.weight->kind() == "gated") return linear.weight;
      return std::make_shared<GatedWeight>(backend,
                                           dense_parameter(backend, path, *linear.weight, "to prune by gates"));
    });
    for (GatedWeight* weight : gated_weights(model)) {
      weight->scores().learning_rate_factor = recipe_.score_learning_rate.value_or(score_rate) / recipe_.learning_rate;
    }
    share_ = share_of_zeros(backend, model);
  }

  void before_step(Backend& backend, Model& model, const TrainState& state) override {
    risen_ = risen(recipe_, state);
    std::int64_t matrix = 0;
    for (GatedWeight* weight : gated_weights(model)) {
      weight->draw(backend, dropout_seed(recipe_.seed ^ noise, state.step, matrix++));
    }
  }

  double after_backward(Backend& backend, Model& model, const TrainState&) override {
    std::vector<Parameter*> scores;
    for (GatedWeight* weight : gated_weights(model)) scores.push_back(&weight->scores());
    return add_penalty(backend, scores, steering_.lambda() * risen_, shift);
  }

  // The update has left the gates without noise.
  void after_update(Backend& backend, Model& model, const TrainState& state) override {
    share_ = share_of_zeros(backend, model);
    if (risen_ > 0.0) steering_.steer(state, share_);
  }

  // Gates become part of the weights; those of 0 are masked.
  void finish(Backend& backend, Model& model, const TrainState&) override {
    replace_weights(model, [&](const std::string&, const Linear& linear) -> std::shared_ptr<LinearWeight> {
      auto* gated = dynamic_cast<GatedWeight*>(linear.weight.get());
      if (!gated) return linear.weight;
      gated->refresh(backend);
      auto w = std::make_shared<Parameter>();
      w->value = make_storage(backend, gated->out(), gated->in(), backend.real());
      gated->materialize(backend, w->tensor());
      auto masked = std::make_shared<MaskedWeight>(backend, std::move(w), false);
      const std::vector<float> gates = downloaded<float>(backend, gated->gates());
      change_mask(backend, *masked, [&](std::uint8_t* mask, std::int64_t size) {
        for (std::int64_t i = 0; i < size; ++i) mask[i] = gates[static_cast<std::size_t>(i)] != 0.0f;
      });
      return masked;
    });
    finalize_masks(backend, model);
  }

  std::string save() const override { return steering_.save(); }
  void load(const std::string& json) override { steering_.load(json); }

  std::vector<std::pair<std::string, double>> figures() const override {
    return {{"sparsity", share_}, {"regularization", steering_.lambda()}};
  }

 private:
  static double share_of_zeros(Backend& backend, Model& model) {
    std::int64_t kept = 0, total = 0;
    for (GatedWeight* weight : gated_weights(model)) {
      kept += weight->nonzeros(backend);
      total += weight->out() * weight->in();
    }
    return total == 0 ? 0.0 : 1.0 - static_cast<double>(kept) / static_cast<double>(total);
  }

  Recipe recipe_;
  Steering steering_;
  double risen_ = 0, share_ = 0;
};

}  // namespace

std::unique_ptr<TrainHook> make_l0(const Recipe& recipe, const Calibration&) { return std::make_unique<L0>(recipe); }

}  // namespace bertx::compress
