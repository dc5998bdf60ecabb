// What a recipe has achieved, step by step: parameters, zeros, bytes, multiplies, time and the metric of the task.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "bertx/train.h"
#include "common/data.h"
#include "common/model_cost.h"

namespace bertx::tools {

/// A model on the way.
struct Station {
  std::string name;  ///< "original", "step-1-heads", …
  std::filesystem::path directory;
  ModelCost cost;
  Timing latency;   ///< where it was measured
  Figures figures;  ///< eval_accuracy, …; none: not measured
};

struct RecipeReport {
  std::vector<Station> stations;  ///< the original, then every step
  std::int64_t tokens = 0;        ///< of the text that multiplies and latency are about
  bool timed = false;
  std::string metric;  ///< the figure that tables and pictures show: "eval_accuracy"; empty: none
  int signal = 0;      ///< it was stopped by this signal
};

/// `stations` have names and directories. The original is measured on the validation data here, the steps were when
/// they ended.
RecipeReport report_recipe(Backend& backend, std::vector<Station> stations, const TaskData& data,
                           const LatencyFlags& latency, std::int64_t batch_size);

std::string recipe_table(const RecipeReport& report);
std::string recipe_json(const RecipeReport& report);
/// The metric and the latency of every station, one above the other, as SVG.
std::string recipe_picture(const RecipeReport& report, const std::string& title);

}  // namespace bertx::tools
