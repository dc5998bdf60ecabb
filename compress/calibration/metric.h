// How good a model is on the texts that it is measured on.
#pragma once

#include "calibration/examples.h"

namespace bertx::compress {

/// The metric's name: of the task, or of the kind of labels. Throws Error(usage) that begins with `option` for one of
/// which less is better.
std::string metric_to_hold(const Calibration& calibration, std::string_view option);

/// Its value; NaN where it is not defined.
double measure_metric(Backend& backend, const Model& model, const Calibration& calibration, std::int64_t batch_size,
                      const std::string& metric);

}  // namespace bertx::compress
