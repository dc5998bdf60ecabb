// A model with a sequence classification head at work: token ids in, logits and labels out.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <vector>

#include "bertx/arena.h"
#include "bertx/error.h"
#include "bertx/model.h"
#include "bertx/recorded_passes.h"
#include "bertx/tokenizer.h"

namespace bertx::tools {

/// Throws Error(bad_input) where the directory holds a model without a sequence classification head.
void require_classifier(const Config& config, const std::filesystem::path& directory);
Model load_classifier(Backend& backend, const std::filesystem::path& directory);

/// Calls run(); where a number that is not finite ends it, says which weight of the model is to blame, if one is.
template <class Run>
auto blame_weights(Backend& backend, Model& model, const std::filesystem::path& directory, const Run& run) {
  try {
    return run();
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::numeric) require_finite(backend, model, directory.string());
    throw;
  }
}

/// Runs ragged batches; keeps its memory from one to the next. The model must be prepared, and stay as it is.
class Classifier {
 public:
  Classifier(Backend& backend, const Model& model) : backend_(backend), arena_(backend), passes_(backend, model) {}
  /// [texts, labels]. Throws Error(numeric) where one is not finite.
  std::vector<float> logits(std::span<const Encoding> texts);

 private:
  Backend& backend_;
  Arena arena_;
  RecordedPasses passes_;
};

/// What logits say: one label and its probability (single label), those above one half and theirs (multi-label), or
/// the only label and the value itself (regression).
struct Verdict {
  std::vector<std::size_t> labels;
  std::vector<float> scores;
};
Verdict judge(const Config& config, std::span<const float> logits);

}  // namespace bertx::tools
