// A model over a whole set of examples: logits in the order of the examples, loss, metrics.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

#include "bertx/error.h"
#include "bertx/recorded_passes.h"
#include "bertx/train.h"
#include "train/examples.h"

namespace bertx {
namespace {

/// How many labels the mean loss of a batch is taken over.
std::int64_t loss_weight(const Batch& batch, LabelKind kind) {
  if (kind != LabelKind::single_label) return batch.sequences();
  return std::count_if(batch.labels.begin(), batch.labels.end(), [](std::int32_t label) { return label != -100; });
}

/// The labels of all examples, as compute_metrics wants them.
void fill_labels(Predictions& predictions, std::span<const EncodedExample> examples, LabelKind kind) {
  const std::size_t outputs = static_cast<std::size_t>(predictions.outputs);
  switch (kind) {
    case LabelKind::none: break;
    case LabelKind::single_label:
      for (const EncodedExample& example : examples) predictions.labels.push_back(example.label);
      break;
    case LabelKind::regression:
      for (const EncodedExample& example : examples) predictions.targets.push_back(example.target);
      break;
    case LabelKind::multi_label:
      predictions.targets.assign(examples.size() * outputs, 0.0f);
      for (std::size_t i = 0; i < examples.size(); ++i) {
        for (const std::int32_t label : examples[i].classes) {
          predictions.targets[i * outputs + static_cast<std::size_t>(label)] = 1.0f;
        }
      }
      break;
  }
}

}  // namespace

EvalResult evaluate(Backend& backend, const Model& model, std::span<const EncodedExample> examples,
                    const EvalOptions& options, ProgressObserver* observer) {
  check_examples(model, examples, options.kind, "evaluation data");
  if (options.batch_size < 1)
    fail(ErrorKind::usage, "evaluation: found batch size ", options.batch_size, ", expected 1 or more");
  const auto begin = std::chrono::steady_clock::now();
  const std::int64_t count = static_cast<std::int64_t>(examples.size()), outputs = output_count(model);

  // Texts of one length in a batch share the work between threads evenly; memory grows once, at the end.
  std::vector<std::int64_t> order(examples.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return examples[static_cast<std::size_t>(a)].ids.size() < examples[static_cast<std::size_t>(b)].ids.size();
  });

  EvalResult result;
  result.samples = count;
  result.predictions.kind = kind_of(model.head.problem);
  result.predictions.outputs = outputs;
  result.predictions.logits.resize(examples.size() * static_cast<std::size_t>(outputs));
  fill_labels(result.predictions, examples, options.kind);

  Arena arena(backend);
  RecordedPasses passes(backend, model);
  std::vector<float> host;
  double loss_sum = 0;
  std::int64_t loss_count = 0, batches = 0;
  for (std::int64_t first = 0; first < count; first += options.batch_size, ++batches) {
    if (const int signal = pending_signal()) {
      result.signal = signal;
      return result;
    }
    const std::int64_t size = std::min(options.batch_size, count - first);
    const auto indices = std::span(order).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(size));
    const Batch batch = collate(examples, indices, options.kind, outputs);
    arena.reset();
    Exec exec{backend, arena};
    const Tensor logits = passes.forward(exec, batch);  // [outputs, size]
    if (options.kind != LabelKind::none) {
      const std::int64_t weight = loss_weight(batch, options.kind);
      if (weight > 0) loss_sum += model.loss(exec, batch, logits) * static_cast<double>(weight);
      loss_count += weight;
    }
    host.resize(static_cast<std::size_t>(outputs * size));
    backend.download(logits, view(host.data(), outputs, size, DType::f32));
    for (std::int64_t b = 0; b < size; ++b) {
      const std::int64_t example = indices[static_cast<std::size_t>(b)];
      for (std::int64_t o = 0; o < outputs; ++o) {
        const float logit = host[static_cast<std::size_t>(o * size + b)];
        if (!std::isfinite(logit)) {
          fail(ErrorKind::numeric, "evaluation data, example ", example, ": logit ", o, " is ", logit,
               ", expected a finite number");
        }
        result.predictions.logits[static_cast<std::size_t>(example * outputs + o)] = logit;
      }
    }
    if (observer) observer->on_evaluate_progress(first + size, count);
  }

  if (loss_count > 0) result.loss = loss_sum / static_cast<double>(loss_count);
  if (options.kind != LabelKind::none) {
    std::vector<std::string_view> names(options.metrics.begin(), options.metrics.end());
    if (names.empty()) names = default_metrics(options.kind);
    result.metrics = compute_metrics(names, result.predictions, options.positive);
  }
  result.runtime = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const double seconds = std::max(result.runtime, 1e-9);
  result.samples_per_second = static_cast<double>(count) / seconds;
  result.steps_per_second = static_cast<double>(batches) / seconds;
  return result;
}

Figures EvalResult::figures(std::string_view prefix, std::string_view suffix) const {
  Figures out;
  const auto add = [&](std::string_view name, double value) {
    out.emplace_back(text(prefix, "_", name, suffix), value);
  };
  if (loss) add("loss", *loss);
  for (const auto& [name, value] : metrics.values) add(name, value);
  add("samples", static_cast<double>(samples));
  add("runtime", runtime);
  add("samples_per_second", samples_per_second);
  add("steps_per_second", steps_per_second);
  return out;
}

}  // namespace bertx
