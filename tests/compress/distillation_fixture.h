// A small student and a deeper teacher, texts for both, and one pass of a distillation over them.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bertx/distill.h"
#include "bertx/error.h"
#include "model/tiny.h"

namespace bertx::test {

inline std::vector<std::string> distillation_names() {
  std::vector<std::string> names;
  for (const compress::DistillationKind& kind : compress::distillation_kinds()) names.emplace_back(kind.name);
  return names;
}

/// Four layers; of another hidden size where the kind can compare such.
inline Config teacher_config(const std::string& kind, const TinyHead& head = tiny_heads().front()) {
  Config config = tiny_config(head);
  const bool wider = kind != "pkd" && kind != "distilbert";
  Config deep = make_config(4, wider ? 15 : 12, 3, 10, config.vocab, config.positions);
  deep.head = config.head, deep.problem = config.problem, deep.labels = config.labels;
  deep.initializer_range = 0.5f;
  return deep;
}

inline std::vector<EncodedExample> distillation_texts(const Config& config, std::int64_t count, std::int64_t length,
                                                      std::uint64_t seed) {
  RandomSource random(seed);
  std::vector<EncodedExample> examples(static_cast<std::size_t>(count));
  for (EncodedExample& example : examples) {
    for (std::int64_t i = length > 0 ? length : random.integer(1, 9); i > 0; --i) {
      example.ids.push_back(static_cast<std::int32_t>(random.integer(0, config.vocab - 1)));
      example.types.push_back(static_cast<std::int32_t>(random.integer(0, 1)));
    }
    example.label = static_cast<std::int32_t>(random.integer(0, static_cast<std::int64_t>(config.labels.size()) - 1));
    example.target = static_cast<float>(random.normal());
    example.classes = {example.label};
  }
  return examples;
}

inline LabelKind label_kind(ProblemKind problem) {
  return problem == ProblemKind::regression    ? LabelKind::regression
         : problem == ProblemKind::multi_label ? LabelKind::multi_label
                                               : LabelKind::single_label;
}

/// A student under a distillation, its teacher having answered.
struct Lesson {
  Backend& backend;
  Model student;
  std::vector<EncodedExample> texts;
  std::unique_ptr<Objective> objective;
  ProgressObserver silent;
  bool dropout = true, recompute = false;

  Lesson(Backend& on, Model pupil, Model teacher, const compress::Distillation& how, std::int64_t length = 0)
      : backend(on),
        student(std::move(pupil)),
        texts(distillation_texts(student.config, 4, length, 5)),
        objective(compress::make_distillation(on, std::move(teacher), "teacher", how)) {
    objective->begin(backend, student);
    objective->start(backend, texts, silent);
  }

  Batch batch(const std::vector<std::int64_t>& which = {0, 1, 2, 3}) const {
    return collate(texts, which, label_kind(student.head.problem),
                   static_cast<std::int64_t>(student.config.labels.size()));
  }
  double run(const Batch& batch, double share = 1) {
    Arena arena(backend);
    Exec exec{backend, arena, dropout, 7};
    exec.recompute = recompute;
    Model::Saved saved;
    return objective->run(exec, student, batch, saved, share);
  }
  void visit(const Visit& parameter) {
    student.visit(parameter);
    objective->visit(parameter);
  }
  void zero_gradients() {
    visit([&](const std::string&, Parameter& p) { p.zero_gradient(backend); });
  }
  std::vector<double> gradients() {
    std::vector<double> all;
    visit([&](const std::string&, Parameter& p) {
      for (const double g : values_of(backend, p.gradient())) all.push_back(g);
    });
    return all;
  }
};

inline Lesson tiny_lesson(Backend& backend, const std::string& kind, const std::string& representation = "",
                          const TinyHead& head = tiny_heads().front(), std::int64_t length = 0) {
  Model student = make_model(backend, tiny_config(head), 3),
        teacher = make_model(backend, teacher_config(kind, head), 8);
  randomise_vectors(backend, student, 4);
  randomise_vectors(backend, teacher, 9);
  if (!representation.empty()) represent(backend, student, representation, 6);
  compress::Distillation how;
  how.kind = kind;
  how.hard_weight = 0.3;
  return {backend, std::move(student), std::move(teacher), how, length};
}

}  // namespace bertx::test
