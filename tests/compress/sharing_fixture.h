// Models of a few layers to share weights in.
#pragma once

#include <gtest/gtest.h>

#include "../model/tiny.h"
#include "bertx/compress.h"
#include "support.h"

namespace bertx::compress {

/// Six layers, so that groups of several sizes exist; `kind` as in test::represent, which knows two.
inline Model deep_model(Backend& backend, std::int64_t layers = 6) {
  Config config = make_config(layers, 12, 3, 10, 23, 16);
  config.head = HeadKind::sequence_classification;
  config.labels = {"a", "b", "c"};
  config.initializer_range = 0.5f;
  Model model = make_model(backend, config, 3);
  test::randomise_vectors(backend, model, 4);
  return model;
}

inline Recipe sharing(std::int64_t groups, const std::string& share = "all", const std::string& tie = "average",
                      std::int64_t repair_rank = 0) {
  return {.method = "share", .groups = groups, .share = share, .tie = tie, .repair_rank = repair_rank};
}

inline std::vector<double> numbers(Backend& backend, const LinearWeight& weight) {
  const Storage dense = make_storage(backend, weight.out(), weight.in(), backend.real());
  weight.materialize(backend, dense.tensor);
  return test::values_of(backend, dense.tensor);
}

inline double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

}  // namespace bertx::compress
