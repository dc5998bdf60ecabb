#include "common/plan.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "bertx/error.h"
#include "common/text.h"

namespace bertx::tools {
namespace {

using Json = nlohmann::ordered_json;

std::int64_t multiplies_per_token(Model& model) {
  std::int64_t multiplies = 0;
  model.visit_linears([&](const std::string&, Linear& linear) { multiplies += linear.weight->multiplies(); });
  return multiplies;
}

Json model_json(Model& model) {
  const Config& config = model.config;
  Json layers = Json::array();
  for (const LayerShape& s : config.layers)
    layers.push_back({{"heads", s.heads}, {"head_dim", s.head_dim}, {"ffn", s.ffn}});
  return {{"layers", layers},
          {"hidden", config.hidden},
          {"vocab", config.vocab},
          {"positions", config.positions},
          {"labels", config.labels},
          {"parameters", model.parameter_count()},
          {"multiplies_per_token", multiplies_per_token(model)}};
}

std::string model_text(Model& model) {
  const Config& config = model.config;
  std::string out = text("layers: ", config.layers.size(), ", hidden ", config.hidden, ", vocabulary ", config.vocab,
                         ", positions ", config.positions, "\n");
  for (std::size_t l = 0; l < config.layers.size(); ++l) {
    const LayerShape& s = config.layers[l];
    out += text("  layer ", l, ": ", s.heads, " heads of ", s.head_dim, ", feed-forward ", s.ffn, "\n");
  }
  out += text("labels: ", config.labels.size(), "\n");
  out += text("parameters: ", count_text(model.parameter_count()), "\n");
  out += text("multiplies: ", count_text(multiplies_per_token(model)), " a token in the encoder's matrices\n");
  return out;
}

struct Texts {
  std::int64_t count = 0, tokens = 0, longest = 0;
  double mean() const { return static_cast<double>(tokens) / static_cast<double>(std::max<std::int64_t>(1, count)); }
};

Texts texts_of(const std::vector<EncodedExample>& examples) {
  Texts texts;
  for (const EncodedExample& example : examples) {
    const auto length = static_cast<std::int64_t>(example.ids.size());
    ++texts.count;
    texts.tokens += length;
    texts.longest = std::max(texts.longest, length);
  }
  return texts;
}

/// Of one update: two forward and four backward for each multiply of a token.
double step_flops(Model& model, const Texts& texts, const TrainOptions& options) {
  return 6 * texts.mean() * static_cast<double>(options.per_device_train_batch_size) *
         static_cast<double>(options.gradient_accumulation_steps) * static_cast<double>(multiplies_per_token(model));
}

}  // namespace

std::string describe_training(Setup& setup, const TrainFlags& train, TrainHook* hook) {
  const TrainOptions& options = train.options;
  Model& model = *setup.model;
  const Texts texts = texts_of(setup.data.train->encoded);
  const TrainPlan plan = plan_training(options, texts.count);
  TrainState state;
  state.total_steps = plan.total_steps;
  prepare_for_training(*setup.backend, model, options, hook, state, setup.objective.get());
  const TrainMemory memory =
      plan_memory(*setup.backend, model, setup.data.train->encoded, setup.data.kind, options, setup.objective.get());
  const double flops = step_flops(model, texts, options);

  if (train.json) {
    const Json out = {
        {"model", model_json(model)},
        {"texts", {{"count", texts.count}, {"mean_tokens", texts.mean()}, {"longest", texts.longest}}},
        {"steps", {{"total", plan.total_steps}, {"per_epoch", plan.steps_per_epoch}, {"warmup", plan.warmup_steps}}},
        {"flops", {{"per_step", flops}, {"total", flops * static_cast<double>(plan.total_steps)}}},
        {"memory",
         {{"weights", memory.weights},
          {"gradients", memory.gradients},
          {"moments", memory.moments},
          {"activations", memory.activations},
          {"teacher", memory.objective},
          {"total", memory.total()},
          {"longest_batch", {{"texts", memory.sequences}, {"tokens", memory.tokens}}},
          {"gradient_checkpointing", options.gradient_checkpointing}}}};
    return out.dump(2) + "\n";
  }
  const auto bytes = [](std::size_t n) { return bytes_text(static_cast<double>(n)); };
  std::string out = model_text(model);
  out +=
      text("texts: ", texts.count, ", ", fixed(texts.mean(), 1), " tokens on average, ", texts.longest, " at most\n");
  out += text("steps: ", plan.total_steps, " (", plan.steps_per_epoch, " an epoch), warm-up ", plan.warmup_steps, "\n");
  out += text("FLOPs: ", scaled_text(flops), " a step, ", scaled_text(flops * static_cast<double>(plan.total_steps)),
              " in all\n");
  out += text("memory: ", bytes(memory.total()), "\n");
  out += text("  weights ", bytes(memory.weights), ", gradients ", bytes(memory.gradients), ", moments ",
              bytes(memory.moments), "\n");
  if (memory.objective > 0) out += text("  teacher ", bytes(memory.objective), "\n");
  out += text("  activations ", bytes(memory.activations), " for the longest batch, ", memory.sequences, " texts of ",
              memory.tokens, " tokens", options.gradient_checkpointing ? ", with gradient checkpointing" : "", "\n");
  return out;
}

std::string describe_model(Model& model, bool json) {
  if (json) return Json{{"model", model_json(model)}, {"steps", {{"total", 0}}}}.dump(2) + "\n";
  return model_text(model) + "steps: 0 (pruned at once)\n";
}

}  // namespace bertx::tools
