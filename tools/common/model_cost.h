// What a model costs: parameters, zeros, bytes, multiplies, time; and how far two models are apart in what they say.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "bench/timing.h"
#include "bertx/compress.h"
#include "common/flags.h"

namespace bertx::tools {

/// Multiplications (multiply-adds) of one text.
struct Multiplies {
  std::int64_t linear = 0, attention = 0, pooler = 0;
  std::int64_t total() const { return linear + attention + pooler; }
};
/// Of a text of `tokens` tokens; every use of a shared matrix counts.
Multiplies count_multiplies(const Model& model, const compress::Report& report, std::int64_t tokens);

struct ModelCost {
  compress::Report model;
  std::int64_t bytes = 0;  ///< of the weight files
  Multiplies multiplies;
};
/// `directory` is where the model lies, on as many tokens as it takes up to `tokens`.
ModelCost cost_of(Backend& backend, Model& model, const std::filesystem::path& directory, std::int64_t tokens);
std::int64_t weight_file_bytes(const std::filesystem::path& directory);

/// How latency is measured: one text at a time, the models in turn (A B A B …).
struct LatencyFlags {
  std::int64_t tokens = 128, passes = 10, warmup = 2;
};
void add_latency_flags(Flags& flags, LatencyFlags& latency);
/// Tokens of the text: as many as the model takes.
std::int64_t latency_tokens(const LatencyFlags& latency, const Config& config);
/// One entry a model; empty where no passes are asked for. Leaves the models prepared for inference.
std::vector<Timing> measure_latency(Backend& backend, const std::vector<Model*>& models, const LatencyFlags& latency);

/// Largest difference between the logits of two models over random token ids, short and long.
double logit_difference(Backend& backend, const Model& a, const Model& b);

}  // namespace bertx::tools
