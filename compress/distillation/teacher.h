// A model that only answers: prepared for inference, its answers to the training texts kept.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "bertx/train.h"
#include "distillation/answers_file.h"

namespace bertx::compress {

class Teacher {
 public:
  /// Error(bad_input) where it is no sequence classifier.
  Teacher(Backend& backend, Model model, std::string where);

  const Model& model() const { return model_; }
  /// Of its parameters and structure.
  const std::string& checksum() const { return checksum_; }
  std::size_t bytes() const { return bytes_; }

  /// Finds the student's labels among its own, by name. Throws Error(bad_input) for another task or other labels.
  void fit(const Model& student);
  /// Answers all examples, or reads the answers in `cache` (a directory; empty: none), where they are then kept. A
  /// signal leaves it without answers.
  void answer(Backend& backend, std::span<const EncodedExample> examples, std::int64_t batch_size,
              const std::filesystem::path& cache, ProgressObserver& observer);
  /// Its logits [outputs, B] for a batch of these examples, in the order of the student's labels; zeros before it has
  /// answered.
  std::vector<float> answers_to(const Batch& batch) const;

 private:
  Model model_;
  std::string where_, checksum_;
  std::size_t bytes_ = 0;
  std::vector<std::size_t> order_;  ///< [outputs]: its own output for each of the student's
  Answers answers_;
};

}  // namespace bertx::compress
