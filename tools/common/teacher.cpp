#include "common/teacher.h"

#include <vector>

#include "bertx/error.h"
#include "bertx/files.h"
#include "common/log.h"

namespace bertx::tools {

void add_teacher_flags(Flags& flags, TeacherFlags& teacher) {
  compress::Distillation& how = teacher.how;
  std::vector<std::string> kinds;
  std::string summaries;
  for (const compress::DistillationKind& kind : compress::distillation_kinds()) {
    kinds.emplace_back(kind.name);
    summaries += (summaries.empty() ? "" : "; ") + bertx::text(kind.name, ": ", kind.summary);
  }
  flags.group("Teacher")
      .text("teacher", &teacher.model, "DIR", "a fine-tuned model to learn from, of the same vocabulary and labels")
      .choice("distillation", &how.kind, kinds, summaries)
      .optional_number("temperature", &how.temperature, Range::above(0, 1e3),
                       "of the answers, single-label tasks; else 2")
      .number("hard_weight", &how.hard_weight, Range::between(0, 1),
              "of the labels, the rest is the teacher's; 0: labels do not count")
      .optional_number("hidden_weight", &how.hidden_weight, Range::between(0, 1e9),
                       "of hidden states (pkd: else 100; tinybert, distilbert: else 1)")
      .optional_number("attention_weight", &how.attention_weight, Range::between(0, 1e9),
                       "of attention (tinybert, minilm: else 1)")
      .choice("teacher_layers", &how.teacher_layers, {"skip", "last"}, "pkd: spread evenly, or the last ones")
      .text("teacher_cache", &teacher.cache, "DIR", "keeps the teacher's answers there; else in the output directory");
}

void finish_teacher_flags(const Flags& flags, TeacherFlags& teacher, const std::string& output_dir) {
  const compress::DistillationKind& kind = compress::find_distillation(teacher.how.kind);
  for (const char* name : {"distillation", "temperature", "hard_weight", "hidden_weight", "attention_weight",
                           "teacher_layers", "teacher_cache"}) {
    if (teacher.model.empty() && flags.given(name)) {
      fail(ErrorKind::usage, "--", name, ": found without --teacher; expected the model to learn from");
    }
  }
  for (const char* name : {"hidden_weight", "attention_weight", "teacher_layers"}) {
    if (!flags.given(name) || kind.takes(name)) continue;
    fail(ErrorKind::usage, "--", name, ": --distillation ", kind.name, " does not read it");
  }
  teacher.how.cache = teacher.cache.empty() ? output_dir : teacher.cache;
}

std::unique_ptr<Objective> load_teacher(Backend& backend, const TeacherFlags& teacher, const Tokenizer& student,
                                        const std::filesystem::path& directory) {
  if (teacher.model.empty()) return nullptr;
  const std::filesystem::path where = resolve_model_directory(teacher.model);
  compress::require_same_vocabulary(Tokenizer::load(where), where.string(), student, directory.string());
  LoadReport report;
  Model model = load_model(backend, where, {}, &report);
  if (!report.initialised.empty()) {
    fail(ErrorKind::bad_input, "teacher ", where.string(), ": found no ", report.initialised.front(),
         ", expected a fine-tuned model");
  }
  require_finite(backend, model, where.string());
  log(LogLevel::info, "teacher: ", where.string(), ", ", model.layers.size(), " layers, distillation ",
      teacher.how.kind);
  return compress::make_distillation(backend, std::move(model), where.string(), teacher.how);
}

}  // namespace bertx::tools
