// Config -> config.json, as transformers reads it.
#include "bertx/config.h"
#include "bertx/files.h"
#include "io/config_names.h"
#include "io/json.h"

namespace bertx {
namespace {

using nlohmann::json;

/// 0.1f as 0.1 and not as 0.10000000149011612.
double decimal(float value) { return *parse_double(number_text(value)); }

/// The name in the original file where it means the same activation; else the usual one.
std::string activation_name(Activation activation, const json& root) {
  const auto original = root.find("hidden_act");
  if (original != root.end() && original->is_string()) {
    const auto& name = original->get_ref<const std::string&>();
    if (activation_of(name) == activation) return name;
  }
  for (const ActivationName& row : kActivations) {
    if (row.activation == activation) return std::string(row.name);
  }
  return "linear";
}

void write_labels(const Config& config, json& root) {
  for (const char* key : {"id2label", "label2id", "num_labels", "problem_type"}) root.erase(key);
  for (std::size_t i = 0; i < config.labels.size(); ++i) {
    root["id2label"][std::to_string(i)] = config.labels[i];
    root["label2id"][config.labels[i]] = i;
  }
  if (!config.problem_is_stated && config.problem == implied_problem(config)) return;
  for (const ProblemName& row : kProblems) {
    if (row.problem == config.problem) root["problem_type"] = row.name;
  }
}

/// Heads that were removed are gone for good: the shapes of the layers say so, not pruned_heads.
void write_layers(const Config& config, json& root) {
  root.erase("pruned_heads");
  root.erase("bertx_layers");
  if (!config.uneven()) return;
  for (const LayerShape& layer : config.layers) {
    json row = {{"num_attention_heads", layer.heads}, {"intermediate_size", layer.ffn}};
    if (layer.head_dim != config.head_dim()) row["attention_head_size"] = layer.head_dim;
    root["bertx_layers"].push_back(std::move(row));
  }
}

}  // namespace

void write_config(const Config& config, const std::filesystem::path& directory, std::string_view original) {
  json root = original.empty() ? json::object() : parse_json_text(original, "the original config.json");
  const JsonObject checked(root, "the original config.json");

  root["hidden_act"] = activation_name(config.activation, root);
  root["model_type"] = "bert";
  root["architectures"] = {head_architecture(config.head)};
  root["vocab_size"] = config.vocab;
  root["hidden_size"] = config.hidden;
  root["num_hidden_layers"] = config.layers.size();
  root["num_attention_heads"] = config.heads;
  root["intermediate_size"] = config.ffn;
  root["max_position_embeddings"] = config.positions;
  root["type_vocab_size"] = config.types;
  root["hidden_dropout_prob"] = decimal(config.hidden_dropout);
  root["attention_probs_dropout_prob"] = decimal(config.attention_dropout);
  root["classifier_dropout"] = config.classifier_dropout < 0 ? json(nullptr) : json(decimal(config.classifier_dropout));
  root["layer_norm_eps"] = config.layer_norm_eps;
  root["initializer_range"] = decimal(config.initializer_range);
  root["pad_token_id"] = config.pad_token;
  root["tie_word_embeddings"] = config.tie_word_embeddings;
  // transformers 4 reads torch_dtype, 5 reads dtype. What bertx writes is float32, whatever was read.
  root["dtype"] = "float32";
  root["torch_dtype"] = "float32";
  root.erase("quantization_config");
  write_layers(config, root);
  write_labels(config, root);

  write_text_file(directory / "config.json", root.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
}

}  // namespace bertx
