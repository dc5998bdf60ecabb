// One scenario an operation: a call with random operands. Run on a checked backend it compares the operation with the
// reference backend; the same scenarios prove that the comparison fails on a planted error.
#pragma once

#include "scene.h"

namespace bertx::test {

struct Scenario {
  const char* operation;
  void (*run)(Scene& scene);
  std::vector<const char*> outputs;  ///< as the checked backend names them
};

std::vector<Scenario> dense_scenarios();     ///< products, elementwise operations, LayerNorm, masks, optimizer
std::vector<Scenario> sequence_scenarios();  ///< attention, embeddings, columns, losses

inline std::vector<Scenario> scenarios() {
  std::vector<Scenario> all = dense_scenarios();
  for (const Scenario& scenario : sequence_scenarios()) all.push_back(scenario);
  return all;
}

}  // namespace bertx::test
