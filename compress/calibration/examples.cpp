#include "calibration/examples.h"

#include <algorithm>
#include <numeric>

#include "calibration/seeing.h"

namespace bertx::compress {
Calibration sample(const Calibration& calibration, const Recipe& recipe) {
  const auto most = static_cast<std::size_t>(recipe.calibration_samples);
  Calibration used = calibration;
  used.examples = used.examples.first(std::min(used.examples.size(), most));
  return used;
}

void for_batches(const Model& model, const Calibration& calibration, std::int64_t batch_size,
                 const std::function<void(std::int64_t first, const Batch&)>& run) {
  const auto count = static_cast<std::int64_t>(calibration.examples.size());
  const auto outputs = static_cast<std::int64_t>(model.config.labels.size());
  for (std::int64_t first = 0; first < count; first += batch_size) {
    std::vector<std::int64_t> indices(static_cast<std::size_t>(std::min(batch_size, count - first)));
    std::iota(indices.begin(), indices.end(), first);
    run(first, collate(calibration.examples, indices, calibration.kind, outputs));
  }
}

void run_backward(Backend& backend, Model& model, const Calibration& calibration, std::int64_t batch_size,
                  const ContextProbe* probe, const std::function<void(const Pass&)>& before,
                  const std::function<void(const Pass&)>& after) {
  Arena arena(backend);
  for_batches(model, calibration, batch_size, [&](std::int64_t first, const Batch& batch) {
    arena.reset();
    Exec exec{backend, arena};
    exec.probe = probe;
    Model::Saved saved;
    const Tensor logits = model.forward(exec, batch, &saved);
    const Tensor dlogits = exec.take(logits.rows, logits.cols);
    // Times the batch size: the gradient of each example's own loss, not of their mean.
    model.loss(exec, batch, logits, static_cast<double>(batch.sequences()), dlogits);
    const Pass pass{batch, saved.starts, first};
    if (before) before(pass);
    model.backward(exec, batch, saved, dlogits);
    if (after) after(pass);
  });
}

void run_inputs(Backend& backend, Model& model, const Calibration& calibration, std::int64_t batch_size,
                const InputSeen& seen) {
  model.refresh(backend);  // stacked products would go past the single maps
  Seeing seeing(seen);
  model.visit_linears([&](const std::string& path, Linear& linear) { seeing.add(path, linear); });
  Arena arena(backend);
  for_batches(model, calibration, batch_size, [&](std::int64_t, const Batch& batch) {
    arena.reset();
    Exec exec{backend, arena};
    model.forward(exec, batch);
  });
}

}  // namespace bertx::compress
