// Labelled texts for the tiny models of tests/model/tiny.h.
#pragma once

#include <vector>

#include "bertx/dataset.h"
#include "support.h"

namespace bertx::test {

/// Of 2 to 9 tokens and three classes.
inline std::vector<EncodedExample> tiny_examples(int count) {
  RandomSource random(7);
  std::vector<EncodedExample> examples(static_cast<std::size_t>(count));
  for (EncodedExample& example : examples) {
    for (auto n = random.integer(2, 9); n > 0; --n) {
      example.ids.push_back(static_cast<std::int32_t>(random.integer(0, 22)));
      example.types.push_back(0);
    }
    example.label = static_cast<std::int32_t>(random.integer(0, 2));
  }
  return examples;
}

}  // namespace bertx::test
