// The answers of a teacher in a file, so that the next training with it need not ask again.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace bertx::compress {

/// Logits [examples, outputs], and what they depend on: checksums of the teacher and of the encoded texts, and what
/// computed them.
struct Answers {
  std::string teacher, data, backend;
  std::int64_t examples = 0, outputs = 0;
  std::vector<float> logits;
};

/// The file for them in `directory`.
std::filesystem::path answers_path(const std::filesystem::path& directory, const Answers& like);
/// Fills `answers.logits`, the rest of which says what is wanted; false where there is no file. Throws Error(bad_input)
/// or Error(io) for one that is damaged or of something else.
bool read_answers(const std::filesystem::path& path, Answers& answers);
/// Makes the directory. Throws Error(io).
void write_answers(const std::filesystem::path& path, const Answers& answers);

}  // namespace bertx::compress
