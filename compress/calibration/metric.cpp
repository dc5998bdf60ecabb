#include "calibration/metric.h"

#include "bertx/error.h"
#include "bertx/metrics.h"
#include "weights/host_copy.h"

namespace bertx::compress {

std::string metric_to_hold(const Calibration& calibration, std::string_view option) {
  if (calibration.metric.empty()) {
    for (const std::string_view metric : default_metrics(calibration.kind)) {
      if (higher_is_better(metric)) return std::string(metric);
    }
  }
  if (calibration.metric.empty() || !higher_is_better(calibration.metric)) {
    fail(ErrorKind::usage, option, ": found ", calibration.metric.empty() ? "no metric" : calibration.metric,
         " to measure, expected one of which more is better");
  }
  return calibration.metric;
}

double measure_metric(Backend& backend, const Model& model, const Calibration& calibration, std::int64_t batch_size,
                      const std::string& metric) {
  Predictions predictions;
  predictions.kind = calibration.kind;
  predictions.outputs = static_cast<std::int64_t>(model.config.labels.size());
  Arena arena(backend);
  for_batches(model, calibration, batch_size, [&](std::int64_t, const Batch& batch) {
    arena.reset();
    Exec exec{backend, arena};
    std::vector<double> host;
    const Tensor logits = model.forward(exec, batch);
    host = downloaded<double>(backend, logits);
    predictions.append(view(host.data(), logits.rows, logits.cols, DType::f64), batch);
  });
  const std::string_view names[] = {metric};
  return compute_metrics(names, predictions, calibration.positive).values.front().second;
}

}  // namespace bertx::compress
