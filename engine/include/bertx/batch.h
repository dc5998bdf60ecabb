// What a model is given: sequences packed one after the other, without padding.
#pragma once

#include <cstdint>
#include <vector>

#include "bertx/tensor.h"

namespace bertx {

/// B sequences of T tokens in all. Sequence b holds the tokens [starts[b], starts[b + 1]).
struct Batch {
  std::vector<std::int32_t> ids;     ///< [T]
  std::vector<std::int32_t> types;   ///< [T]; segment of each token
  std::vector<std::int32_t> starts;  ///< [B + 1]; starts[0] = 0, starts[B] = T

  // Labels; which of them are filled follows from the head and the problem. -100 is ignored.
  std::vector<std::int32_t>
      labels;                  ///< [B] single label, [T] token classification and masked LM, [2B] QA: starts, ends
  std::vector<float> targets;  ///< [B] regression, [labels, B] multi-label (feature-major, like logits)

  /// [B] which of the examples they are, where the batch was put together from a list of them (collate); else empty.
  std::vector<std::int64_t> examples;

  std::int64_t tokens() const { return static_cast<std::int64_t>(ids.size()); }
  std::int64_t sequences() const { return starts.empty() ? 0 : static_cast<std::int64_t>(starts.size()) - 1; }
  bool labelled() const { return !labels.empty() || !targets.empty(); }
};

/// What a model reads of a batch, in a backend's memory.
struct BatchTensors {
  Tensor ids, types;  ///< i32 [1, T]
  Tensor starts;      ///< i32 [1, B + 1]
};

}  // namespace bertx
