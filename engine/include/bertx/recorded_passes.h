// Inference by passes that were recorded: for backends where a small batch waits for its kernels to be launched.
#pragma once

#include <map>
#include <memory>
#include <utility>

#include "bertx/model.h"

namespace bertx {

/// The forward passes of one model, each number of tokens and sequences recorded when it comes for the second time
/// (Backend::record). Where the backend records nothing, as on the cpu, and for large batches it is Model::forward and
/// no more. BERTX_GRAPHS=off records nothing.
///
/// The model must be prepared before and stay as it is; it must outlive this. One a thread, like an Arena.
class RecordedPasses {
 public:
  /// Throws Error(usage) where BERTX_GRAPHS is neither on nor off.
  RecordedPasses(Backend& backend, const Model& model);
  RecordedPasses(const RecordedPasses&) = delete;
  RecordedPasses& operator=(const RecordedPasses&) = delete;

  /// As model.forward(exec, batch): the same logits, in the arena of `exec`.
  Tensor forward(Exec& exec, const Batch& batch);
  /// How many kinds of batches are recorded.
  std::size_t recorded() const;

 private:
  struct Pass {
    int seen = 0;
    Tensor packed;  ///< i32 [1, 2T + B + 1]: ids, types, starts
    Tensor logits;
    std::unique_ptr<Recording> recording;
  };
  /// Fills `pass`; leaves it without a recording where the backend makes none.
  void record(Pass& pass, const Batch& batch);

  Backend& backend_;
  const Model& model_;
  bool wanted_;
  Arena arena_;  ///< of all recordings, which run one after the other: each begins at its start
  std::map<std::pair<std::int64_t, std::int64_t>, Pass> passes_;  ///< by tokens and sequences
};

}  // namespace bertx
