#include "distillation/teacher.h"

#include <unordered_set>

#include "bertx/distill.h"
#include "bertx/error.h"
#include "bertx/files.h"
#include "bertx/safetensors.h"
#include "train/crc32c.h"

namespace bertx::compress {
namespace {

/// Of the weights in the layout of inference.
std::size_t bytes_of(Model& model) {
  std::size_t bytes = 0;
  const auto add = [&](Tensor x) { bytes += static_cast<std::size_t>(x.size()) * size_of(x.dtype); };
  model.visit([&](const std::string&, Parameter& p) { add(p.tensor()); });
  model.visit_structure([&](const std::string&, Storage& part) { add(part.tensor); });
  std::unordered_set<const void*> seen;  // layers may share a weight, and what is prepared of it
  model.visit_linears([&](const std::string&, Linear& linear) {
    if (seen.insert(linear.weight.get()).second) bytes += linear.weight->derived_bytes();
  });
  model.visit_kernels([&](const std::string&, const std::string&, const PreparedWeight* weight) {
    if (weight && seen.insert(weight).second) bytes += weight->bytes();
  });
  return bytes;
}

/// The place of each of the student's labels among the teacher's.
std::vector<std::size_t> matched_labels(const std::vector<std::string>& student,
                                        const std::vector<std::string>& teacher) {
  Dataset each;
  each.kind = LabelKind::single_label;
  each.labels = student;
  for (std::size_t i = 0; i < student.size(); ++i) {
    each.examples.emplace_back();
    each.examples.back().label = static_cast<std::int32_t>(i);
  }
  relabel(each, teacher);
  std::vector<std::size_t> order;
  for (const Example& example : each.examples) order.push_back(static_cast<std::size_t>(example.label));
  return order;
}

std::string_view problem_name(ProblemKind problem) {
  return problem == ProblemKind::regression    ? "regression"
         : problem == ProblemKind::multi_label ? "multi_label"
                                               : "single_label";
}

}  // namespace

Teacher::Teacher(Backend& backend, Model model, std::string where)
    : model_(std::move(model)), where_(std::move(where)) {
  if (model_.head.kind != HeadKind::sequence_classification) {
    fail(ErrorKind::bad_input, "teacher ", where_, ": found ", head_architecture(model_.head.kind), ", expected ",
         head_architecture(HeadKind::sequence_classification));
  }
  checksum_ = crc_text(fingerprint(backend, model_));
  model_.prepare(backend);
  bytes_ = bytes_of(model_);
}

void Teacher::fit(const Model& student) {
  const std::vector<std::string>&own = model_.config.labels, &wanted = student.config.labels;
  if (model_.config.problem_is_stated && model_.config.problem != student.head.problem) {
    fail(ErrorKind::bad_input, "teacher ", where_, ": found problem_type ", problem_name(model_.config.problem),
         ", expected ", problem_name(student.head.problem), " as the student's labels are");
  }
  if (own.size() != wanted.size()) {
    fail(ErrorKind::bad_input, "teacher ", where_, ": found ", own.size(), " labels, expected ", wanted.size(),
         " as the student has");
  }
  if (student.head.problem == ProblemKind::regression) {
    order_ = {0};
    return;
  }
  try {
    order_ = matched_labels(wanted, own);
  } catch (const Error& error) {
    fail(ErrorKind::bad_input, "teacher ", where_, ": of other labels than the student: ", error.what());
  }
  const std::unordered_set<std::size_t> distinct(order_.begin(), order_.end());
  if (distinct.size() != order_.size()) {
    fail(ErrorKind::bad_input, "teacher ", where_, ": two labels of the student have one name in the teacher");
  }
}

void Teacher::answer(Backend& backend, std::span<const EncodedExample> examples, std::int64_t batch_size,
                     const std::filesystem::path& cache, ProgressObserver& observer) {
  answers_ = {checksum_,
              crc_text(fingerprint(examples)),
              text(backend.name(), " ", precision_of(backend)),
              static_cast<std::int64_t>(examples.size()),
              static_cast<std::int64_t>(order_.size()),
              {}};
  const std::filesystem::path path = cache.empty() ? cache : answers_path(cache, answers_);
  if (!cache.empty()) {
    try {
      if (read_answers(path, answers_)) return;
    } catch (const Error& error) {
      observer.on_warning(text("the teacher answers again: ", error.what()));
    }
  }
  EvalResult result;
  try {
    result = evaluate(backend, model_, examples, {LabelKind::none, {}, 1, batch_size}, &observer);
  } catch (const Error& error) {
    fail(error.kind(), "teacher ", where_, ": ", error.what());
  }
  if (result.signal != 0) return;
  answers_.logits = std::move(result.predictions.logits);
  if (!cache.empty()) write_answers(path, answers_);
}

std::vector<float> Teacher::answers_to(const Batch& batch) const {
  const std::size_t outputs = order_.size(), count = static_cast<std::size_t>(batch.sequences());
  std::vector<float> out(outputs * count, 0.0f);
  if (answers_.logits.empty()) return out;
  if (batch.examples.size() != count) {
    fail(ErrorKind::usage, "batch: found numbers of ", batch.examples.size(), " examples, expected ", count);
  }
  for (std::size_t b = 0; b < count; ++b) {
    const auto example = static_cast<std::size_t>(batch.examples[b]);
    for (std::size_t o = 0; o < outputs; ++o) out[o * count + b] = answers_.logits[example * outputs + order_[o]];
  }
  return out;
}

void require_same_vocabulary(const Tokenizer& teacher, const std::string& teacher_where, const Tokenizer& student,
                             const std::string& student_where) {
  const auto differ = [&](const std::string& how) {
    fail(ErrorKind::bad_input, "teacher of another vocabulary: ", teacher_where, " and ", student_where, ": ", how);
  };
  if (teacher.size() != student.size()) {
    differ(text("found ", teacher.size(), " tokens, expected ", student.size(), " as the student has"));
  }
  for (int id = 0; id < teacher.size(); ++id) {
    if (teacher.token(id) == student.token(id)) continue;
    differ(text("found token ", id, " ", quote(teacher.token(id)), ", expected ", quote(student.token(id))));
  }
  if (teacher.options().lowercase != student.options().lowercase) {
    differ(text("found do_lower_case ", teacher.options().lowercase ? "true" : "false", ", expected ",
                student.options().lowercase ? "true" : "false"));
  }
}

}  // namespace bertx::compress
