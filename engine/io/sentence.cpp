#include "bertx/sentence.h"

#include "bertx/error.h"
#include "bertx/files.h"
#include "io/json.h"
#include "io/posix.h"
#include "io/safetensors_header.h"

namespace bertx {
namespace {

namespace fs = std::filesystem;

/// A folder of the model directory: modules.json is as untrusted as any other file.
fs::path module_path(const fs::path& directory, const JsonObject& module) {
  const std::string name = module.string("path", "");
  const bool inside = name.empty() || (is_plain_name(name) && name != ".." && name.find('/') == std::string::npos);
  if (!inside) module.fail_at("path", "a folder of the model directory");
  return directory / name;
}

void read_pooling(const fs::path& path, SentenceConfig& config) {
  const nlohmann::json json = parse_json_file(path);
  const JsonObject root(json, shown(path));
  for (const auto& [key, value] : json.items()) {
    if (!key.starts_with("pooling_mode_")) continue;
    const bool on = root.boolean(key, false);
    if (key == "pooling_mode_cls_token") {
      config.pool_cls = on;
    } else if (key == "pooling_mode_mean_tokens") {
      config.pool_mean = on;
    } else if (key == "pooling_mode_max_tokens") {
      config.pool_max = on;
    } else if (on) {
      root.fail_at(key, "false (bertx pools by cls_token, mean_tokens and max_tokens)");
    }
  }
  if (!config.pool_cls && !config.pool_mean && !config.pool_max) {
    fail(ErrorKind::bad_input, root.where(),
         ": found no pooling mode, expected pooling_mode_cls_token, _mean_tokens or _max_tokens to be true");
  }
}

void read_limits(const fs::path& path, SentenceConfig& config) {
  std::error_code error;
  if (!fs::exists(path, error)) return;
  const nlohmann::json json = parse_json_file(path);
  const JsonObject root(json, shown(path));
  if (root.has("max_seq_length")) config.max_seq_length = root.integer("max_seq_length", 1, 1 << 20);
  if (root.has("do_lower_case")) config.do_lower_case = root.boolean("do_lower_case", false);
}

}  // namespace

std::optional<SentenceConfig> read_sentence_config(const fs::path& directory) {
  const fs::path path = directory / "modules.json";
  std::error_code error;
  if (!fs::exists(path, error)) return std::nullopt;
  const nlohmann::json json = parse_json_file(path);
  if (!json.is_array()) {
    fail(ErrorKind::bad_input, shown(path), ": found ", json_found(json), ", expected an array of modules");
  }
  SentenceConfig config;
  for (std::size_t i = 0; i < json.size(); ++i) {
    const JsonObject module(json[i], shown(path) + ": " + std::to_string(i));
    const std::string type = module.string("type");
    const std::string_view name = std::string_view(type).substr(type.rfind('.') + 1);
    if (name == "Transformer") {
      read_limits(module_path(directory, module) / "sentence_bert_config.json", config);
    } else if (name == "Pooling") {
      read_pooling(module_path(directory, module) / "config.json", config);
    } else if (name == "Normalize") {
      config.normalize = true;
    } else {
      module.fail_at("type", "Transformer, Pooling or Normalize");
    }
  }
  if (!config.pool_cls && !config.pool_mean && !config.pool_max) {
    fail(ErrorKind::bad_input, shown(path), ": found no module of type Pooling, expected one");
  }
  return config;
}

}  // namespace bertx
