// Why each product of a prepared model runs the kernel that it runs: the times of every candidate.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bertx/model.h"

namespace bertx::tools {

/// Products that were tuned alike, with the times they were chosen by.
struct Explanation {
  std::string model;               ///< of the row: "csr-packed, 90.0 % zeros"
  std::vector<std::string> paths;  ///< "bert.encoder.layer.0.attention.output.dense", …
  std::string kernel;              ///< what runs
  std::vector<TunedTime> times;    ///< empty where nothing was measured
};

/// Of a model that is prepared.
std::vector<Explanation> explain(Model& model, const std::string& name);

std::string explanation_text(const std::vector<Explanation>& explanations);
nlohmann::ordered_json explanation_json(const std::vector<Explanation>& explanations);

}  // namespace bertx::tools
