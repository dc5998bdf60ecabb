// Training towards a teacher: towards its answers, and in some kinds towards what is inside of it. An Objective of the
// trainer, so that any method of compression can be trained that way.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "bertx/tokenizer.h"
#include "bertx/train.h"

namespace bertx::compress {

/// The loss is hard_weight · (loss of the labels) + (1 - hard_weight) · (distance from the teacher's answers), and what
/// the kind adds. The distance is T² KL(softmax(teacher / T) ‖ softmax(student / T)) for single labels, the mean
/// squared difference for regression, KL of the sigmoids for multi-label; each a mean over the batch.
struct Distillation {
  std::string kind = "response";                ///< one of distillation_kinds()
  std::optional<double> temperature = {};       ///< T of single labels: 2
  double hard_weight = 0.5;                     ///< 0: the labels do not count
  std::optional<double> hidden_weight = {};     ///< of hidden states: pkd 100, tinybert and distilbert 1
  std::optional<double> attention_weight = {};  ///< of attention: 1
  std::string teacher_layers = "skip";          ///< pkd: "skip" (evenly spread) | "last"
  std::filesystem::path cache = {};             ///< directory for the teacher's answers; empty: they stay in memory
  std::int64_t batch_size = 8;                  ///< of texts when the teacher answers
  std::uint64_t seed = 42;                      ///< of projections
};

struct DistillationKind {
  std::string_view name, summary, paper;
  std::string_view options;  ///< fields of Distillation that not every kind reads, separated by blanks

  bool takes(std::string_view option) const;
};
std::span<const DistillationKind> distillation_kinds();
/// Throws Error(usage) with the nearest name.
const DistillationKind& find_distillation(std::string_view name);

/// `teacher` is a sequence classifier of any representation; `where` names it in messages. Throws Error(usage) for
/// options out of range or of another kind. That it goes with the student is checked when training begins: of another
/// task or other labels it is Error(bad_input), of a shape that the kind cannot compare Error(usage).
std::unique_ptr<Objective> make_distillation(Backend& backend, Model teacher, const std::string& where,
                                             const Distillation& how);

/// Throws Error(bad_input) that names both where a teacher would read the student's token ids as other tokens.
void require_same_vocabulary(const Tokenizer& teacher, const std::string& teacher_where, const Tokenizer& student,
                             const std::string& student_where);

}  // namespace bertx::compress
