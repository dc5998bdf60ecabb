#include "common/classify.h"

#include <algorithm>
#include <cmath>

#include "bertx/error.h"

namespace bertx::tools {

void require_classifier(const Config& config, const std::filesystem::path& directory) {
  if (config.head == HeadKind::sequence_classification) return;
  const std::string_view found = config.head == HeadKind::none ? "no head" : head_architecture(config.head);
  fail(ErrorKind::bad_input, (directory / "config.json").string(), ": architectures: found ", found, "; expected ",
       head_architecture(HeadKind::sequence_classification), "; `bertx train` puts such a head on");
}

Model load_classifier(Backend& backend, const std::filesystem::path& directory) {
  require_classifier(read_config(directory), directory);
  LoadReport report;
  Model model = load_model(backend, directory, {}, &report);
  if (!report.initialised.empty()) {
    fail(ErrorKind::bad_input, directory.string(), ": the weights lack ", report.initialised.front(),
         "; expected every tensor of ", head_architecture(model.config.head));
  }
  model.prepare(backend);
  return model;
}

std::vector<float> Classifier::logits(std::span<const Encoding> texts) {
  Batch batch;
  batch.starts.push_back(0);
  for (const Encoding& text : texts) {
    batch.ids.insert(batch.ids.end(), text.ids.begin(), text.ids.end());
    batch.types.insert(batch.types.end(), text.type_ids.begin(), text.type_ids.end());
    batch.starts.push_back(static_cast<std::int32_t>(batch.ids.size()));
  }
  arena_.reset();
  Exec exec{backend_, arena_};
  const Tensor device = passes_.forward(exec, batch);  // [labels, texts]
  std::vector<float> host(static_cast<std::size_t>(device.size()));
  backend_.download(device, view(host.data(), device.rows, device.cols, DType::f32));
  std::vector<float> out(host.size());
  const auto labels = static_cast<std::size_t>(device.rows), count = static_cast<std::size_t>(device.cols);
  for (std::size_t l = 0; l < labels; ++l) {
    for (std::size_t t = 0; t < count; ++t) out[t * labels + l] = host[l * count + t];
  }
  const auto bad = std::ranges::find_if(out, [](float x) { return !std::isfinite(x); });
  if (bad != out.end()) fail(ErrorKind::numeric, "a logit is ", *bad, "; expected a finite number: check the weights");
  return out;
}

Verdict judge(const Config& config, std::span<const float> logits) {
  if (config.problem == ProblemKind::regression || logits.size() == 1) return {{0}, {logits[0]}};
  Verdict verdict;
  if (config.problem == ProblemKind::multi_label) {
    for (std::size_t i = 0; i < logits.size(); ++i) {
      if (logits[i] <= 0) continue;
      verdict.labels.push_back(i);
      verdict.scores.push_back(static_cast<float>(1 / (1 + std::exp(-static_cast<double>(logits[i])))));
    }
    return verdict;
  }
  const auto best = std::ranges::max_element(logits);
  double sum = 0;
  for (const float x : logits) sum += std::exp(static_cast<double>(x) - *best);
  return {{static_cast<std::size_t>(best - logits.begin())}, {static_cast<float>(1 / sum)}};
}

}  // namespace bertx::tools
