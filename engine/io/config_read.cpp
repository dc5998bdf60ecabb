// config.json -> Config. The file is untrusted: each key has a type and a range, and contradictions are errors.
#include <algorithm>
#include <limits>
#include <set>

#include "bertx/config.h"
#include "bertx/error.h"
#include "bertx/files.h"
#include "io/config_names.h"
#include "io/json.h"
#include "io/posix.h"

namespace bertx {
namespace {

// Far above every published BERT, and small enough that products of two fit in 63 bits.
constexpr std::int64_t kMaxWidth = 65'536, kMaxFfn = 1 << 20, kMaxLayers = 1'000, kMaxVocab = 100'000'000,
                       kMaxPositions = 1 << 20, kMaxTypes = 65'536, kMaxLabels = 65'536;

/// A key that selects a variant of BERT which bertx does not compute: only the plain value may stand there.
void refuse_variants(const JsonObject& root) {
  if (root.has("model_type") && root.string("model_type") != "bert") root.fail_at("model_type", "\"bert\"");
  if (root.string("position_embedding_type", "absolute") != "absolute") {
    root.fail_at("position_embedding_type", "\"absolute\" (relative positions are not supported)");
  }
  if (root.boolean("is_decoder", false)) root.fail_at("is_decoder", "false (bertx is an encoder)");
  if (root.boolean("add_cross_attention", false)) root.fail_at("add_cross_attention", "false (bertx is an encoder)");
}

Activation read_activation(const JsonObject& root) {
  const auto activation = activation_of(root.string("hidden_act", "gelu"));
  if (!activation) {
    std::string names;
    for (const ActivationName& row : kActivations) names += (names.empty() ? "" : ", ") + std::string(row.name);
    root.fail_at("hidden_act", "one of " + names);
  }
  return *activation;
}

float read_dropout(const JsonObject& root, std::string_view key, float otherwise) {
  return static_cast<float>(root.number(key, otherwise, 0.0, 1.0, "a number from 0 to less than 1"));
}

HeadKind read_head(const JsonObject& root) {
  if (!root.has("architectures")) return HeadKind::none;
  const nlohmann::json& names = root.at("architectures");
  if (!names.is_array()) root.fail_at("architectures", "an array of strings");
  for (const nlohmann::json& name : names) {
    if (!name.is_string()) root.fail_at("architectures", "an array of strings");
    for (const HeadKind head : {HeadKind::none, HeadKind::sequence_classification, HeadKind::token_classification,
                                HeadKind::question_answering, HeadKind::masked_lm}) {
      if (name.get_ref<const std::string&>() == head_architecture(head)) return head;
    }
    if (name.get_ref<const std::string&>() == "BertForPreTraining") return HeadKind::masked_lm;
  }
  return HeadKind::none;  // another head: the encoder can still be used
}

/// id2label: {"0": "no", "1": "yes"}, without a gap.
std::vector<std::string> read_id2label(const JsonObject& root) {
  const nlohmann::json& map = root.at("id2label");
  if (!map.is_object()) root.fail_at("id2label", "an object from \"0\", \"1\", … to names");
  std::vector<std::string> labels(map.size());
  for (const auto& [key, name] : map.items()) {
    const auto id = parse_int(key);
    if (!id || std::to_string(*id) != key || *id < 0 || *id >= static_cast<std::int64_t>(map.size())) {
      fail(ErrorKind::bad_input, root.where(), ": id2label: found key ", quote(key), " among ", map.size(),
           ", expected the keys \"0\" to \"", map.size() - 1, "\" without a gap");
    }
    if (!name.is_string()) {
      fail(ErrorKind::bad_input, root.where(), ": id2label: ", key, ": found ", json_found(name),
           ", expected a string");
    }
    labels[static_cast<std::size_t>(*id)] = name.get<std::string>();
  }
  return labels;
}

/// label2id must say the same as id2label; alone it says it too.
std::vector<std::string> read_label2id(const JsonObject& root, std::vector<std::string> labels) {
  const nlohmann::json& map = root.at("label2id");
  if (!map.is_object()) root.fail_at("label2id", "an object from names to integers from 0");
  const bool alone = labels.empty();
  if (alone) labels.resize(map.size());
  std::set<std::int64_t> seen;
  for (const auto& [name, value] : map.items()) {
    const std::string where = root.where() + ": label2id: " + quote(name);
    if (labels.empty()) fail(ErrorKind::bad_input, where, ": found a label, expected none");
    const std::int64_t id = json_integer(value, where, 0, static_cast<std::int64_t>(labels.size()) - 1);
    std::string& label = labels[static_cast<std::size_t>(id)];
    if (alone && !seen.insert(id).second) {
      fail(ErrorKind::bad_input, where, ": found ", id, " twice, expected one label for each of 0 to ",
           labels.size() - 1);
    }
    if (alone) label = name;
    if (label != name) {
      fail(ErrorKind::bad_input, where, ": found ", id, ", expected what id2label says: ", id, " is ", quote(label));
    }
  }
  return labels;
}

std::vector<std::string> read_labels(const JsonObject& root, HeadKind head) {
  std::vector<std::string> labels;
  if (root.has("id2label")) labels = read_id2label(root);
  if (root.has("label2id")) labels = read_label2id(root, std::move(labels));
  const bool needed = head == HeadKind::sequence_classification || head == HeadKind::token_classification;
  const auto known = static_cast<std::int64_t>(labels.size());
  const std::int64_t count = root.integer("num_labels", known > 0 ? known : needed ? 2 : 0, 0, kMaxLabels);
  if (known > 0 && count != known) {
    root.fail_at("num_labels", std::to_string(known) + ", the number of labels in id2label");
  }
  for (std::int64_t i = known; i < count; ++i) labels.push_back("LABEL_" + std::to_string(i));
  if (needed && labels.empty()) root.fail_at(root.find("num_labels") ? "num_labels" : "id2label", "at least one label");
  return labels;
}

void read_problem(const JsonObject& root, Config& config) {
  config.problem = implied_problem(config);
  config.problem_is_stated = root.has("problem_type");
  if (!config.problem_is_stated) return;
  const std::string name = root.string("problem_type");
  for (const ProblemName& row : kProblems) {
    if (row.name == name) {
      config.problem = row.problem;
      return;
    }
  }
  root.fail_at("problem_type", "regression, single_label_classification or multi_label_classification");
}

/// pruned_heads: {"layer": [heads…]}, as transformers 4 wrote it: those heads are absent from the layer's matrices.
void read_pruned_heads(const JsonObject& root, Config& config) {
  if (!root.has("pruned_heads")) return;
  const nlohmann::json& map = root.at("pruned_heads");
  if (!map.is_object()) root.fail_at("pruned_heads", "an object from layers to arrays of heads");
  const auto layers = static_cast<std::int64_t>(config.layers.size());
  for (const auto& [key, list] : map.items()) {
    const auto layer = parse_int(key);
    if (!layer || *layer < 0 || *layer >= layers) {
      fail(ErrorKind::bad_input, root.where(), ": pruned_heads: found layer ", quote(key), ", expected 0 to ",
           layers - 1);
    }
    const std::string where = root.where() + ": pruned_heads: layer " + key;
    if (!list.is_array())
      fail(ErrorKind::bad_input, where, ": found ", json_found(list), ", expected an array of heads");
    std::set<std::int64_t> removed;
    for (const nlohmann::json& head : list) removed.insert(json_integer(head, where, 0, config.heads - 1));
    const auto count = static_cast<std::int64_t>(removed.size());
    if (count == config.heads) {
      fail(ErrorKind::bad_input, where, ": found all ", count, " heads, expected at least one that is left");
    }
    config.layers[static_cast<std::size_t>(*layer)].heads -= count;
  }
}

/// bertx_layers: [{"num_attention_heads": h, "intermediate_size": f}, …], the shapes after heads or neurons went.
void read_uneven_layers(const JsonObject& root, Config& config) {
  if (!root.has("bertx_layers")) return;
  const nlohmann::json& list = root.at("bertx_layers");
  if (!list.is_array() || list.size() != config.layers.size()) {
    root.fail_at("bertx_layers", "an array of " + std::to_string(config.layers.size()) + ", one entry a layer");
  }
  if (root.has("pruned_heads") && !root.at("pruned_heads").empty()) {
    root.fail_at("pruned_heads", "none beside bertx_layers, which says the same");
  }
  for (std::size_t i = 0; i < list.size(); ++i) {
    const JsonObject layer(list[i], root.where() + ": bertx_layers: " + std::to_string(i));
    LayerShape& shape = config.layers[i];
    shape.heads = layer.integer("num_attention_heads", 0, config.heads);
    shape.ffn = layer.integer("intermediate_size", 0, config.ffn);
    shape.head_dim = layer.integer("attention_head_size", shape.head_dim, 1, config.hidden);
  }
}

}  // namespace

Config config_of_json(const nlohmann::json& json, const std::string& source) {
  const JsonObject root(json, source);
  refuse_variants(root);

  Config config;
  config.vocab = root.integer("vocab_size", config.vocab, 1, kMaxVocab);
  config.hidden = root.integer("hidden_size", config.hidden, 1, kMaxWidth);
  config.positions = root.integer("max_position_embeddings", config.positions, 1, kMaxPositions);
  config.types = root.integer("type_vocab_size", config.types, 1, kMaxTypes);
  config.heads = root.integer("num_attention_heads", config.heads, 1, kMaxWidth);
  config.ffn = root.integer("intermediate_size", config.ffn, 1, kMaxFfn);
  if (config.hidden % config.heads != 0) {
    fail(ErrorKind::bad_input, root.where(), ": num_attention_heads: found ", config.heads,
         ", expected a divisor of hidden_size ", config.hidden);
  }
  const std::int64_t layers = root.integer("num_hidden_layers", 12, 1, kMaxLayers);
  config.layers.assign(static_cast<std::size_t>(layers), LayerShape{config.heads, config.head_dim(), config.ffn});
  read_pruned_heads(root, config);
  read_uneven_layers(root, config);

  config.activation = read_activation(root);
  config.hidden_dropout = read_dropout(root, "hidden_dropout_prob", config.hidden_dropout);
  config.attention_dropout = read_dropout(root, "attention_probs_dropout_prob", config.attention_dropout);
  config.classifier_dropout = read_dropout(root, "classifier_dropout", config.classifier_dropout);
  config.layer_norm_eps = root.number("layer_norm_eps", config.layer_norm_eps, std::numeric_limits<float>::min(), 1.0,
                                      "a number above 0 and less than 1");
  config.initializer_range = static_cast<float>(
      root.number("initializer_range", config.initializer_range, 0.0, 1e6, "a number from 0 to less than 1e6"));
  config.pad_token = static_cast<std::int32_t>(root.integer("pad_token_id", 0, 0, config.vocab - 1));
  config.tie_word_embeddings = root.boolean("tie_word_embeddings", true);

  config.head = read_head(root);
  config.labels = read_labels(root, config.head);
  read_problem(root, config);
  return config;
}

Config read_config(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / "config.json";
  return config_of_json(parse_json_file(path), shown(path));
}

}  // namespace bertx
