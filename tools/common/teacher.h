// --teacher and what goes with it: any training can learn from another model.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "bertx/distill.h"
#include "common/flags.h"

namespace bertx::tools {

struct TeacherFlags {
  std::string model;  ///< empty: no teacher
  compress::Distillation how;
  std::string cache;  ///< empty: the output directory
};

void add_teacher_flags(Flags& flags, TeacherFlags& teacher);
/// Throws Error(usage) for flags that nothing reads: without a teacher, or of another kind of distillation.
void finish_teacher_flags(const Flags& flags, TeacherFlags& teacher, const std::string& output_dir);

/// The objective of a training that learns from this teacher; null without one. Throws Error(bad_input) where it has
/// another vocabulary than the student of `directory`, or is no classifier.
std::unique_ptr<Objective> load_teacher(Backend& backend, const TeacherFlags& teacher, const Tokenizer& student,
                                        const std::filesystem::path& directory);

}  // namespace bertx::tools
