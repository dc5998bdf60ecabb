// Measuring a model on every validation part, and what is made of the figures.
#pragma once

#include <filesystem>
#include <string>

#include "bertx/train.h"
#include "common/data.h"

namespace bertx::tools {

struct Evaluated {
  Figures figures;  ///< of all parts: eval_accuracy, …, eval_accuracy_mm, …
  int signal = 0;   ///< stopped by it; the figures do not count
};
Evaluated evaluate_parts(Backend& backend, const Model& model, const TaskData& data, std::int64_t batch_size,
                         ProgressObserver* observer);

/// Writes predict_results_<task>.txt for each test part: "index<tab>prediction", label names or numbers.
/// Returns the signal that stopped it, or 0.
int write_predictions(Backend& backend, const Model& model, const TaskData& data, std::int64_t batch_size,
                      const std::filesystem::path& directory, ProgressObserver* observer);

/// A line a figure, as run_glue prints them.
std::string figures_table(const Figures& figures);

}  // namespace bertx::tools
