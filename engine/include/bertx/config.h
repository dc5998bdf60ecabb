// What a BERT is made of: the content of config.json, with per-layer shapes where heads or neurons were removed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace bertx {

enum class Activation : std::uint8_t { none, gelu_erf, gelu_tanh, relu, tanh };

/// The head on top of the encoder, named in config.json under `architectures`.
enum class HeadKind : std::uint8_t {
  none,
  sequence_classification,
  token_classification,
  question_answering,
  masked_lm
};

/// What a sequence classification head is trained for (`problem_type`).
enum class ProblemKind : std::uint8_t { single_label, regression, multi_label };

/// The shape of one encoder layer. Head removal and neuron removal are a new shape, not a mask: 0 is allowed.
struct LayerShape {
  std::int64_t heads = 0, head_dim = 0, ffn = 0;
  bool operator==(const LayerShape&) const = default;
};

/// Defaults are those of transformers.BertConfig.
struct Config {
  std::int64_t vocab = 30522, hidden = 768, positions = 512, types = 2;
  std::int64_t heads = 12, ffn = 3072;  ///< before any removal, as config.json names them
  std::vector<LayerShape> layers;       ///< one entry a layer
  Activation activation = Activation::gelu_erf;
  float hidden_dropout = 0.1f, attention_dropout = 0.1f;
  float classifier_dropout = -1.0f;  ///< negative: null in config.json, that is hidden_dropout
  double layer_norm_eps = 1e-12;
  float initializer_range = 0.02f;
  std::int32_t pad_token = 0;
  HeadKind head = HeadKind::none;
  ProblemKind problem = ProblemKind::single_label;
  bool problem_is_stated = false;   ///< config.json had a problem_type
  std::vector<std::string> labels;  ///< id2label; its size is the number of outputs of the head
  bool tie_word_embeddings = true;

  std::int64_t head_dim() const { return hidden / heads; }
  /// Layers are not all of the full shape: written under the key "bertx_layers".
  bool uneven() const;
};

/// A BERT of `layers` equal layers.
Config make_config(std::int64_t layers, std::int64_t hidden, std::int64_t heads, std::int64_t ffn,
                   std::int64_t vocab = 30522, std::int64_t positions = 512);

/// Reads and checks `<directory>/config.json`. Throws Error(bad_input) that names the file, the key, what was found
/// and what was expected; Error(io) when the file cannot be read.
Config read_config(const std::filesystem::path& directory);

/// Writes `<directory>/config.json` so that transformers loads it; keys of `original` (a config.json's text, may be
/// empty) that bertx does not use are kept.
void write_config(const Config& config, const std::filesystem::path& directory, std::string_view original = {});

std::string_view head_architecture(HeadKind head);  ///< "BertForSequenceClassification", …

}  // namespace bertx
