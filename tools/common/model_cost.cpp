#include "common/model_cost.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "bench/forward.h"
#include "bench/lengths.h"
#include "bertx/safetensors.h"

namespace bertx::tools {
namespace {

constexpr std::uint64_t kSeed = 20190521;  // of the random ids: the same for all models

std::vector<double> outputs_of(Backend& backend, const Model& model, const Batch& batch) {
  Arena arena(backend);
  Exec exec{backend, arena};
  const Tensor device = model.forward(exec, batch);
  std::vector<double> host(static_cast<std::size_t>(device.size()));
  backend.download(device, view(host.data(), device.rows, device.cols, DType::f64));
  return host;
}

}  // namespace

Multiplies count_multiplies(const Model& model, const compress::Report& report, std::int64_t tokens) {
  Multiplies out;
  for (const auto& matrix : report.matrices) out.linear += matrix.multiplies * tokens;
  for (const LayerShape& shape : model.config.layers) {
    out.attention += 2 * shape.heads * shape.head_dim * tokens * tokens;  // Qᵀ K and V P
  }
  if (const auto& projection = model.embeddings.projection) out.linear += projection->tensor().size() * tokens;
  if (model.pooler) out.pooler = model.pooler->weight->multiplies();
  return out;
}

std::int64_t weight_file_bytes(const std::filesystem::path& directory) {
  const WeightFiles files = WeightFiles::open(directory);
  std::int64_t bytes = 0;
  for (const SafetensorsFile& file : files.files()) bytes += static_cast<std::int64_t>(file.file_bytes());
  return bytes;
}

ModelCost cost_of(Backend& backend, Model& model, const std::filesystem::path& directory, std::int64_t tokens) {
  ModelCost cost;
  cost.model = compress::report(backend, model);
  cost.bytes = weight_file_bytes(directory);
  cost.multiplies = count_multiplies(model, cost.model, tokens);
  return cost;
}

void add_latency_flags(Flags& flags, LatencyFlags& latency) {
  flags.group("Latency")
      .integer("latency_passes", &latency.passes, 0, 1 << 20, "forward passes of one text, models in turn; 0: none")
      .integer("latency_tokens", &latency.tokens, 1, 1 << 20,
               "tokens of that text; at most as many as the model takes");
}

std::int64_t latency_tokens(const LatencyFlags& latency, const Config& config) {
  return std::min(latency.tokens, config.positions);
}

std::vector<Timing> measure_latency(Backend& backend, const std::vector<Model*>& models, const LatencyFlags& latency) {
  if (latency.passes == 0 || models.empty()) return {};
  std::vector<Variant> variants;
  for (const Model* model : models) variants.push_back({*model});
  const Texts texts = equal_texts(1, latency_tokens(latency, models.front()->config));
  std::vector<Timing> times;
  for (const BenchRow& row : time_forward(backend, variants, {texts}, {0, latency.passes, latency.warmup, kSeed})) {
    times.push_back({row.min_ms, row.median_ms});
  }
  return times;
}

double logit_difference(Backend& backend, const Model& a, const Model& b) {
  Texts texts;
  for (const std::int64_t length : {3, 17, 32, 64}) texts.lengths.push_back(std::min(length, a.config.positions));
  const Batch batch = random_batch(a.config, texts, kSeed, false);
  const std::vector<double> first = outputs_of(backend, a, batch), second = outputs_of(backend, b, batch);
  if (first.size() != second.size()) return std::numeric_limits<double>::infinity();
  double largest = 0;
  for (std::size_t i = 0; i < first.size(); ++i) largest = std::max(largest, std::fabs(first[i] - second[i]));
  return largest;
}

}  // namespace bertx::tools
