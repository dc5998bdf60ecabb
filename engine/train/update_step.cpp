#include "train/update_step.h"

#include <cmath>

#include "bertx/error.h"

namespace bertx {
namespace {

[[noreturn]] void fail_on_loss(Backend& backend, Model& model, std::int64_t step, double loss) {
  const std::string parameter = find_bad_parameter(backend, model);
  if (!parameter.empty()) {
    fail(ErrorKind::numeric, "step ", step, ": the loss is ", loss, ": parameter ", parameter, " is not finite");
  }
  fail(ErrorKind::numeric, "step ", step, ": the loss is ", loss,
       ": the logits are not finite while all parameters are; a lower learning rate may help");
}

}  // namespace

UpdateStep::UpdateStep(Backend& backend, Model& model, const TrainOptions& options, Objective* objective)
    : backend_(backend),
      model_(model),
      objective_(objective),
      seed_(options.seed),
      recompute_(options.gradient_checkpointing),
      optimizer_(backend, model, options, objective),
      arena_(backend) {}

UpdateResult UpdateStep::run(const TrainState& state, std::int64_t micro_batches,
                             const std::function<Batch(std::int64_t)>& batch_of, TrainHook* hook) {
  const std::int64_t step = state.step + 1;
  UpdateResult result;
  if (hook) hook->before_step(backend_, model_, state);
  for (std::int64_t micro = 0; micro < micro_batches; ++micro) {
    const Batch batch = batch_of(micro);
    result.loss += accumulate(batch, state.step, micro, micro_batches);
    result.tokens += batch.tokens();
  }
  if (hook) {
    const double penalty = hook->after_backward(backend_, model_, state);
    if (!std::isfinite(penalty))
      fail(ErrorKind::numeric, "step ", step, ": the penalty of the compression is ", penalty);
    result.loss += penalty;
  }
  result.gradient_norm = optimizer_.gradient_norm();
  if (!std::isfinite(result.gradient_norm)) {
    const std::string path = optimizer_.find_bad_gradient();
    fail(ErrorKind::numeric, "step ", step, ": the gradient of ", path.empty() ? "all parameters together" : path,
         " is not finite");
  }
  optimizer_.update(state.learning_rate, step, result.gradient_norm);
  model_.refresh(backend_);
  if (hook) hook->after_update(backend_, model_, state);
  return result;
}

double UpdateStep::accumulate(const Batch& batch, std::int64_t step, std::int64_t micro, std::int64_t micro_batches) {
  const double share = 1.0 / static_cast<double>(micro_batches);
  arena_.reset();
  Exec exec{backend_, arena_, true, dropout_seed(seed_, step, micro)};
  exec.recompute = recompute_;
  if (objective_) {
    const double loss = objective_->run(exec, model_, batch, saved_, share);
    if (!std::isfinite(loss)) fail_on_loss(backend_, model_, step + 1, loss);
    optimizer_.use_word_rows(batch.ids);
    return loss * share;
  }
  const Tensor logits = model_.forward(exec, batch, &saved_);
  const Tensor dlogits = exec.take(logits.rows, logits.cols);
  const double loss = model_.loss(exec, batch, logits, share, dlogits);
  if (!std::isfinite(loss)) fail_on_loss(backend_, model_, step + 1, loss);
  model_.backward(exec, batch, saved_, dlogits);
  optimizer_.use_word_rows(batch.ids);
  return loss * share;
}

std::uint64_t dropout_seed(std::uint64_t seed, std::int64_t step, std::int64_t micro_batch) {
  const auto mix = [](std::uint64_t x) {  // splitmix64
    x += 0x9E3779B97F4A7C15ull;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    return x ^ (x >> 31);
  };
  return mix(mix(mix(seed) + static_cast<std::uint64_t>(step)) + static_cast<std::uint64_t>(micro_batch));
}

}  // namespace bertx
