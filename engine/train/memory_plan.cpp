// What a training will take: the batch with the most tokens is found in the order in which training will take them,
// and its pass runs on a backend that only counts.
#include <algorithm>
#include <unordered_set>

#include "backend/counting.h"
#include "train/examples.h"
#include "train/update_step.h"
#include "weights/parts.h"

namespace bertx {
namespace {

/// The texts of the longest micro-batch.
std::vector<std::int64_t> longest_batch(std::span<const EncodedExample> examples, const TrainOptions& options) {
  const std::int64_t count = static_cast<std::int64_t>(examples.size()), size = options.per_device_train_batch_size;
  const TrainPlan plan = plan_training(options, count);
  const Sampler sampler(count, options.seed);
  std::vector<std::int64_t> longest;
  std::size_t most = 0;
  for (std::int64_t epoch = 0; epoch * plan.steps_per_epoch < plan.total_steps; ++epoch) {
    const std::vector<std::int64_t> order = sampler.epoch(epoch);
    const std::int64_t groups = std::min(plan.steps_per_epoch, plan.total_steps - epoch * plan.steps_per_epoch);
    const std::int64_t batches = std::min(groups * options.gradient_accumulation_steps, plan.batches_per_epoch);
    for (std::int64_t b = 0; b < batches; ++b) {
      const auto first = order.begin() + b * size, last = order.begin() + std::min(count, (b + 1) * size);
      std::size_t tokens = 0;
      for (auto i = first; i < last; ++i) tokens += examples[static_cast<std::size_t>(*i)].ids.size();
      const bool longer =
          tokens > most || (tokens == most && last - first > static_cast<std::ptrdiff_t>(longest.size()));
      if (!longer) continue;
      most = tokens;
      longest.assign(first, last);
    }
  }
  return longest;
}

std::size_t bytes_of(Tensor x) { return static_cast<std::size_t>(x.size()) * size_of(x.dtype); }

/// Of the weights in the layout of training, which they have from now on.
std::size_t weight_bytes(Backend& backend, Model& model) {
  std::size_t bytes = 0;
  model.visit([&](const std::string&, Parameter& p) { bytes += bytes_of(p.tensor()); });
  model.visit_structure([&](const std::string&, Storage& part) { bytes += bytes_of(part.tensor); });
  std::unordered_set<const LinearWeight*> seen;  // layers may share one, whole or as a part
  model.visit_linears([&](const std::string&, Linear& linear) {
    linear.weight->prepare_training(backend);
    visit_parts(*linear.weight, [&](LinearWeight& part, std::size_t derived_bytes) {
      if (seen.insert(&part).second) bytes += derived_bytes;
    });
  });
  return bytes;
}

}  // namespace

TrainMemory plan_memory(Backend& backend, Model& model, std::span<const EncodedExample> examples, LabelKind kind,
                        const TrainOptions& options, Objective* objective) {
  const std::vector<std::int64_t> indices = longest_batch(examples, options);
  const Batch batch = collate(examples, indices, kind, output_count(model));
  TrainMemory memory;
  memory.sequences = batch.sequences();
  memory.tokens = batch.tokens();
  memory.weights = weight_bytes(backend, model);
  const auto visit = [&](const Visit& parameter) {
    model.visit(parameter);
    if (objective) objective->visit(parameter);
  };
  if (objective) {
    objective->visit([&](const std::string&, Parameter& p) { memory.weights += bytes_of(p.tensor()); });
    memory.objective = objective->bytes();
  }

  const auto drop_gradients = [&] { visit([](const std::string&, Parameter& p) { p.grad = {}; }); };
  drop_gradients();
  CountingBackend counting(backend);
  {
    UpdateStep step(counting, model, options, objective);
    visit([&](const std::string&, Parameter& p) { memory.gradients += bytes_of(p.gradient()); });
    for (const Optimizer::Entry& entry : step.optimizer().entries()) {
      memory.moments += bytes_of(entry.first_moment.tensor) + bytes_of(entry.second_moment.tensor);
    }
    step.accumulate(batch, 0, 0, 1);
    memory.activations = step.arena().peak_bytes();
  }
  drop_gradients();
  return memory;
}

}  // namespace bertx
