#include "model/build.h"

#include <cmath>
#include <numbers>
#include <vector>

#include "bertx/error.h"

namespace bertx {
namespace {

Linear linear(ParameterSource& source, const std::string& path, std::int64_t out, std::int64_t in) {
  return {source.weight(path + ".weight", out, in), source.parameter(path + ".bias", out, 1, Initial::zero)};
}

LayerNorm layer_norm(ParameterSource& source, const std::string& path, const Config& config) {
  return {source.parameter(path + ".weight", config.hidden, 1, Initial::one),
          source.parameter(path + ".bias", config.hidden, 1, Initial::zero), config.layer_norm_eps};
}

Embeddings embeddings(ParameterSource& source, const std::string& path, const Config& config) {
  const std::int64_t hidden = config.hidden;
  const std::string word = path + ".word_embeddings.weight";
  const std::int64_t rank = source.embedding_rank(word);
  const auto table = [&](const std::string& name, std::int64_t rows, std::int64_t cols) {
    return source.parameter(name, rows, cols, Initial::normal);
  };
  return {rank > 0 ? table(word + ".u", config.vocab, rank) : table(word, config.vocab, hidden),
          table(path + ".position_embeddings.weight", config.positions, hidden),
          table(path + ".token_type_embeddings.weight", config.types, hidden),
          rank > 0 ? table(word + ".v", rank, hidden) : nullptr,
          layer_norm(source, path + ".LayerNorm", config),
          config.hidden_dropout};
}

EncoderLayer encoder_layer(ParameterSource& source, const std::string& path, const Config& config, LayerShape shape) {
  const std::int64_t hidden = config.hidden, width = shape.heads * shape.head_dim;
  EncoderLayer layer;
  layer.shape = shape;
  layer.query = linear(source, path + ".attention.self.query", width, hidden);
  layer.key = linear(source, path + ".attention.self.key", width, hidden);
  layer.value = linear(source, path + ".attention.self.value", width, hidden);
  layer.attention_output = linear(source, path + ".attention.output.dense", hidden, width);
  layer.attention_norm = layer_norm(source, path + ".attention.output.LayerNorm", config);
  layer.ffn_in = linear(source, path + ".intermediate.dense", shape.ffn, hidden);
  layer.ffn_out = linear(source, path + ".output.dense", hidden, shape.ffn);
  layer.output_norm = layer_norm(source, path + ".output.LayerNorm", config);
  layer.activation = config.activation;
  layer.hidden_dropout = config.hidden_dropout;
  layer.attention_dropout = config.attention_dropout;
  return layer;
}

Head make_head(ParameterSource& source, const Config& config, const Embeddings& embeddings) {
  const std::int64_t hidden = config.hidden, outputs = static_cast<std::int64_t>(config.labels.size());
  Head head;
  head.kind = config.head;
  head.problem = config.problem;
  head.dropout = config.classifier_dropout >= 0.0f ? config.classifier_dropout : config.hidden_dropout;
  head.activation = config.activation;
  switch (config.head) {
    case HeadKind::none: break;
    case HeadKind::sequence_classification:
    case HeadKind::token_classification: head.classifier = linear(source, "classifier", outputs, hidden); break;
    case HeadKind::question_answering: head.classifier = linear(source, "qa_outputs", 2, hidden); break;
    case HeadKind::masked_lm:
      head.transform = linear(source, "cls.predictions.transform.dense", hidden, hidden);
      head.transform_norm = layer_norm(source, "cls.predictions.transform.LayerNorm", config);
      head.decoder =
          Linear{config.tie_word_embeddings ? tied_decoder(embeddings)
                                            : source.weight("cls.predictions.decoder.weight", config.vocab, hidden),
                 source.parameter("cls.predictions.bias", config.vocab, 1, Initial::zero)};
      break;
  }
  return head;
}

std::uint64_t mix(std::uint64_t x) {  // splitmix64
  x += 0x9E3779B97F4A7C15ull;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

}  // namespace

Model build_model(Backend& backend, const Config& config, ParameterSource& source) {
  if (config.layers.empty()) fail(ErrorKind::usage, "config: found no encoder layers, expected at least 1");
  const std::string base = config.head == HeadKind::none ? "" : "bert.";
  Model model;
  model.config = config;
  model.embeddings = embeddings(source, base + "embeddings", config);
  for (std::size_t i = 0; i < config.layers.size(); ++i) {
    model.layers.push_back(
        encoder_layer(source, base + "encoder.layer." + std::to_string(i), config, config.layers[i]));
  }
  const bool pooled =
      config.head == HeadKind::sequence_classification || (config.head == HeadKind::none && source.has_pooler());
  if (pooled) model.pooler = linear(source, base + "pooler.dense", config.hidden, config.hidden);
  model.head = make_head(source, config, model.embeddings);
  model.refresh(backend);
  return model;
}

std::shared_ptr<LinearWeight> tied_decoder(const Embeddings& embeddings) {
  auto word = std::make_shared<DenseWeight>(embeddings.word);
  if (!embeddings.projection) return word;
  return std::make_shared<LowRankWeight>(std::move(word), std::make_shared<DenseWeight>(embeddings.projection));
}

void Model::factor_word_embeddings(std::shared_ptr<Parameter> word, std::shared_ptr<Parameter> projection) {
  embeddings.word = std::move(word);
  embeddings.projection = std::move(projection);
  if (head.decoder && config.tie_word_embeddings) head.decoder->weight = tied_decoder(embeddings);
}

std::shared_ptr<Parameter> RandomSource::parameter(const std::string& path, std::int64_t rows, std::int64_t cols,
                                                   Initial initial) {
  auto parameter = std::make_shared<Parameter>();
  parameter->decay = initial == Initial::normal;
  parameter->value = make_storage(backend_, rows, cols, backend_.real());
  if (initial == Initial::one) backend_.fill(parameter->tensor(), 1.0);
  if (initial != Initial::normal || parameter->tensor().size() == 0) return parameter;

  std::uint64_t state = mix(seed_);
  for (const char c : path) state = mix(state ^ static_cast<unsigned char>(c));
  std::vector<float> host(static_cast<std::size_t>(rows * cols));
  for (std::size_t i = 0; i < host.size(); i += 2) {  // Box & Muller
    const std::uint64_t a = mix(state + 2 * i), b = mix(state + 2 * i + 1);
    const double radius = std::sqrt(-2.0 * std::log((static_cast<double>(a >> 11) + 1.0) * 0x1p-53));
    const double angle = 2.0 * std::numbers::pi * static_cast<double>(b >> 11) * 0x1p-53;
    host[i] = static_cast<float>(range_ * radius * std::cos(angle));
    if (i + 1 < host.size()) host[i + 1] = static_cast<float>(range_ * radius * std::sin(angle));
  }
  backend_.upload(view(host.data(), rows, cols, DType::f32), parameter->tensor());
  return parameter;
}

std::shared_ptr<LinearWeight> RandomSource::weight(const std::string& path, std::int64_t out, std::int64_t in) {
  return std::make_shared<DenseWeight>(parameter(path, out, in, Initial::normal));
}

Model make_model(Backend& backend, const Config& config, std::uint64_t seed) {
  RandomSource source(backend, config.initializer_range, seed);
  return build_model(backend, config, source);
}

}  // namespace bertx
