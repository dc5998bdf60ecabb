// L0 regularization (Louizos, Welling & Kingma 2018, 1712.01312, as Sanh, Wolf & Rush 2020, 2005.07683, prune BERT with
// it): every weight has a gate (GatedWeight), drawn anew in each step from a distribution with mass at 0 and at 1, and
// the penalty λ · mean over matrices of mean P(gate > 0) = σ(S - β ln(0.1 / 1.1)) pushes gates to 0. As in soft
// movement λ is given or follows a wanted sparsity, and rises along the cubic. Evaluation and the model that comes out
// have the gates without noise, multiplied into the weights.
//
// The noise is a function of (seed, step, matrix, weight), so a resumed training draws what an uninterrupted one draws.
#include <cmath>

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

std::vector<GatedWeight*> gated_weights(Model& model) { return weights_of_kind<GatedWeight>(model); }

class L0 final : public SoftScores {
 public:
  explicit L0(const Recipe& recipe) : SoftScores(recipe, first_lambda) {}

  void begin(Backend& backend, Model& model, const TrainState&) override {
    replace_weights(model, [&](const std::string& path, const Linear& linear) -> std::shared_ptr<LinearWeight> {
      if (linear.weight->kind() == "gated") return linear.weight;
      return std::make_shared<GatedWeight>(backend,
                                           dense_parameter(backend, path, *linear.weight, "to prune by gates"));
    });
    for (GatedWeight* weight : gated_weights(model)) {
      weight->scores().learning_rate_factor = recipe_.score_learning_rate.value_or(score_rate) / recipe_.learning_rate;
    }
    share_ = share_of_zeros<GatedWeight>(backend, model);
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
    share_ = share_of_zeros<GatedWeight>(backend, model);
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
};

}  // namespace

std::unique_ptr<TrainHook> make_l0(const Recipe& recipe, const Calibration&) { return std::make_unique<L0>(recipe); }

}  // namespace bertx::compress
