#include "distillation/answers_file.h"

#include <algorithm>
#include <cstring>

#include "bertx/error.h"
#include "bertx/safetensors.h"
#include "train/crc32c.h"

namespace bertx::compress {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTensor = "logits";

std::string checksum(const std::vector<float>& logits) {
  return crc_text(crc32c(logits.data(), logits.size() * sizeof(float)));
}

Metadata metadata_of(const Answers& answers) {
  return {{"format", "pt"},
          {"teacher", answers.teacher},
          {"data", answers.data},
          {"backend", answers.backend},
          {"crc32c", checksum(answers.logits)}};
}

}  // namespace

fs::path answers_path(const fs::path& directory, const Answers& like) {
  return directory / text("teacher-", like.teacher, "-", like.data, ".safetensors");
}

bool read_answers(const fs::path& path, Answers& answers) {
  std::error_code error;
  if (!fs::exists(path, error)) return false;
  const SafetensorsFile file = SafetensorsFile::open(path, Access::read);
  const TensorEntry* entry = file.find(kTensor);
  const std::vector<std::int64_t> shape{answers.examples, answers.outputs};
  if (entry == nullptr || entry->type != ElementType::f32 || entry->shape != shape) {
    fail(ErrorKind::bad_input, path.string(), ": ", kTensor, ": found ", entry ? entry->shape_text() : "none",
         ", expected F32 [", shape[0], ", ", shape[1], "]");
  }
  require_finite(*entry, path);
  std::vector<float> logits(static_cast<std::size_t>(entry->elements()));
  if (!logits.empty()) std::memcpy(logits.data(), entry->data, entry->bytes);
  Answers found = answers;
  found.logits = std::move(logits);
  for (const auto& [key, expected] : metadata_of(found)) {
    const auto at = file.metadata().find(key);
    const std::string value = at == file.metadata().end() ? "nothing" : at->second;
    if (value != expected)
      fail(ErrorKind::bad_input, path.string(), ": ", key, ": found ", value, ", expected ", expected);
  }
  answers.logits = std::move(found.logits);
  return true;
}

void write_answers(const fs::path& path, const Answers& answers) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  if (error) fail(ErrorKind::io, path.parent_path().string(), ": cannot be made: ", error.message());
  const TensorToWrite tensor{kTensor, ElementType::f32, {answers.examples, answers.outputs}, answers.logits.data()};
  write_safetensors(path, {&tensor, 1}, metadata_of(answers));
}

}  // namespace bertx::compress
