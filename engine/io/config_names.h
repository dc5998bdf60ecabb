// The words of config.json, for its reader and its writer, and the reader without the file.
#pragma once

#include <array>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "bertx/config.h"

namespace bertx {

struct ActivationName {
  std::string_view name;
  Activation activation;
};
/// Of several names of one activation the first is written.
inline constexpr std::array<ActivationName, 7> kActivations{{
    {"gelu", Activation::gelu_erf},
    {"gelu_new", Activation::gelu_tanh},
    {"gelu_pytorch_tanh", Activation::gelu_tanh},
    {"gelu_fast", Activation::gelu_tanh},
    {"gelu_python", Activation::gelu_erf},
    {"relu", Activation::relu},
    {"tanh", Activation::tanh},
}};

inline std::optional<Activation> activation_of(std::string_view name) {
  for (const ActivationName& row : kActivations) {
    if (row.name == name) return row.activation;
  }
  return std::nullopt;
}

struct ProblemName {
  std::string_view name;
  ProblemKind problem;
};
inline constexpr std::array<ProblemName, 3> kProblems{{
    {"single_label_classification", ProblemKind::single_label},
    {"regression", ProblemKind::regression},
    {"multi_label_classification", ProblemKind::multi_label},
}};

/// What transformers takes the problem for when problem_type is absent.
inline ProblemKind implied_problem(const Config& config) {
  const bool one = config.head == HeadKind::sequence_classification && config.labels.size() == 1;
  return one ? ProblemKind::regression : ProblemKind::single_label;
}

/// Checks and reads the content of a config.json; `source` begins every message.
Config config_of_json(const nlohmann::json& json, const std::string& source);

}  // namespace bertx
