// bertx inspect: what a model directory holds, and what it costs to run.
#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bertx/compress.h"
#include "bertx/error.h"
#include "bertx/files.h"
#include "bertx/model.h"
#include "bertx/safetensors.h"
#include "commands.h"
#include "common/model_cost.h"
#include "common/output.h"
#include "common/run_options.h"
#include "common/table.h"
#include "common/text.h"

namespace bertx::tools {
namespace {

using Json = nlohmann::ordered_json;

struct InspectOptions {
  RunOptions run;
  std::string model;
  std::int64_t length = 128;
  bool json = false;
};

Flags declare(InspectOptions& options) {
  Flags flags("inspect", "what a model directory holds: layers, heads, kinds of weight, zeros, bytes, multiplies");
  flags.positional("MODEL", &options.model, "directory of a model, or a cached Hub name");
  flags.group("Report")
      .text("model_name_or_path", &options.model, "DIR", "the same as MODEL")
      .integer("length", &options.length, 1, 1 << 20, "tokens of the text whose multiplies are counted")
      .toggle("json", &options.json, "everything as one JSON object on standard output");
  add_run_flags(flags, options.run);
  flags.example("bertx inspect out/sst2-pruned", "zeros and bytes of a pruned model");
  return flags;
}

struct FileBytes {
  std::int64_t weights = 0, encoder = 0, dense_encoder = 0;
};

FileBytes count_bytes(const std::filesystem::path& directory, const compress::Report& report) {
  FileBytes bytes;
  bytes.weights = weight_file_bytes(directory);
  const WeightFiles files = WeightFiles::open(directory);
  std::int64_t vectors = 0;  // biases and LayerNorm: the same in both forms
  for (const TensorEntry* entry : files.entries()) {
    if (entry->name.find("encoder.layer.") == std::string::npos) continue;
    bytes.encoder += static_cast<std::int64_t>(entry->bytes);
    const bool vector = entry->name.ends_with(".bias") || entry->name.find("LayerNorm") != std::string::npos;
    if (vector) vectors += static_cast<std::int64_t>(entry->bytes);
  }
  bytes.dense_encoder = report.encoder_elements * 4 + vectors;
  return bytes;
}

Json to_json(const std::filesystem::path& directory, const Model& model, const compress::Report& report,
             const FileBytes& bytes, const Multiplies& multiplies, std::int64_t length) {
  const Config& config = model.config;
  Json out;
  out["directory"] = directory.string();
  out["architecture"] = head_architecture(config.head);
  out["labels"] = config.labels;
  out["num_hidden_layers"] = config.layers.size();
  out["hidden_size"] = config.hidden;
  out["vocab_size"] = config.vocab;
  out["max_position_embeddings"] = config.positions;
  if (const auto& projection = model.embeddings.projection) out["embedding_rank"] = projection->tensor().rows;
  out["parameters"] = report.parameters;
  for (const LayerShape& shape : config.layers) {
    out["layers"].push_back(Json{{"heads", shape.heads}, {"head_dim", shape.head_dim}, {"ffn", shape.ffn}});
  }
  std::map<std::string, int> kinds;
  for (const auto& matrix : report.matrices) ++kinds[matrix.kind];
  out["kinds"] = kinds;
  for (const auto& matrix : report.matrices) {
    out["matrices"].push_back(Json{{"name", matrix.name},
                                   {"kind", matrix.kind},
                                   {"out", matrix.out},
                                   {"in", matrix.in},
                                   {"nonzeros", matrix.nonzeros},
                                   {"zeros", matrix.out * matrix.in - matrix.nonzeros},
                                   {"sparsity", matrix.sparsity()},
                                   {"multiplies_per_token", matrix.multiplies}});
  }
  out["encoder"] = Json{{"elements", report.encoder_elements},
                        {"nonzeros", report.encoder_nonzeros},
                        {"zeros", report.encoder_elements - report.encoder_nonzeros},
                        {"sparsity", report.sparsity()},
                        {"bytes", bytes.encoder},
                        {"dense_bytes", bytes.dense_encoder}};
  out["weight_file_bytes"] = bytes.weights;
  out["multiplies"] = Json{{"length", length},
                           {"linear", multiplies.linear},
                           {"attention", multiplies.attention},
                           {"pooler", multiplies.pooler},
                           {"total", multiplies.total()}};
  return out;
}

std::string to_text(const std::filesystem::path& directory, const Model& model, const compress::Report& report,
                    const FileBytes& bytes, const Multiplies& multiplies, std::int64_t length) {
  const Config& config = model.config;
  std::string out =
      text(directory.string(), ": ", head_architecture(config.head), "\n", config.layers.size(),
           " layers, hidden size ", config.hidden, ", ", count_text(report.parameters), " parameters, vocabulary ",
           count_text(config.vocab), ", at most ", config.positions, " tokens\n");
  if (config.head == HeadKind::sequence_classification) {
    out += "labels:";
    for (const std::string& label : config.labels) out += " " + printable(label);
    out += "\n";
  }
  if (const auto& projection = model.embeddings.projection) {
    out += text("word embeddings: ", count_text(config.vocab), " x ", projection->tensor().rows, " and ",
                projection->tensor().rows, " x ", config.hidden, "\n");
  }
  Table layers({"layer", "heads", "head dim", "ffn", "kinds", "zeros", "multiplies a token"});
  const std::size_t a_layer = config.layers.empty() ? 0 : report.matrices.size() / config.layers.size();
  for (std::size_t l = 0; l < config.layers.size(); ++l) {
    std::int64_t elements = 0, nonzeros = 0, products = 0;
    std::vector<std::string> kinds;
    for (std::size_t m = l * a_layer; m < (l + 1) * a_layer; ++m) {
      const auto& matrix = report.matrices[m];
      elements += matrix.out * matrix.in;
      nonzeros += matrix.nonzeros;
      products += matrix.multiplies;
      if (std::ranges::find(kinds, matrix.kind) == kinds.end()) kinds.push_back(matrix.kind);
    }
    std::string kind_list;
    for (const std::string& kind : kinds) kind_list += (kind_list.empty() ? "" : "+") + kind;
    const LayerShape& shape = config.layers[l];
    const double sparsity = elements == 0 ? 0 : 1 - static_cast<double>(nonzeros) / static_cast<double>(elements);
    layers.row({std::to_string(l), std::to_string(shape.heads), std::to_string(shape.head_dim),
                std::to_string(shape.ffn), kind_list, percent_text(sparsity), count_text(products)});
  }
  out += "\n" + layers.text();
  Table matrices({"matrix", "kind", "shape", "nonzeros", "zeros"});
  for (const auto& matrix : report.matrices) {
    matrices.row({matrix.name, matrix.kind, text(matrix.out, " x ", matrix.in), count_text(matrix.nonzeros),
                  percent_text(matrix.sparsity())});
  }
  out += "\n" + matrices.text();
  out +=
      text("\nencoder: ", percent_text(report.sparsity()), " zeros, ", bytes_text(static_cast<double>(bytes.encoder)),
           " in the file (", bytes_text(static_cast<double>(bytes.dense_encoder)),
           " dense in float32)\nweight files: ", bytes_text(static_cast<double>(bytes.weights)),
           "\nmultiplies of a text of ", length, " tokens: ", scaled_text(static_cast<double>(multiplies.total())),
           " (linear ", scaled_text(static_cast<double>(multiplies.linear)), ", attention ",
           scaled_text(static_cast<double>(multiplies.attention)), ")\n");
  return out;
}

}  // namespace

int inspect_command(const Arguments& arguments) {
  // 1. Flags.
  InspectOptions options;
  Flags flags = declare(options);
  if (!flags.parse(arguments)) return 0;
  require(options.model, "model_name_or_path", "a directory of a model, or a cached Hub name");

  // 2. The model and its figures.
  const auto backend = start_backend(options.run);
  const auto directory = resolve_model_directory(options.model);
  Model model = load_model(*backend, directory);
  const compress::Report report = compress::report(*backend, model);
  const FileBytes bytes = count_bytes(directory, report);
  const Multiplies multiplies = count_multiplies(model, report, options.length);

  // 3. The report.
  Output out;
  if (options.json) {
    const Json json = to_json(directory, model, report, bytes, multiplies, options.length);
    out.line(json.dump(2, ' ', false, Json::error_handler_t::replace));
  } else {
    out.write(to_text(directory, model, report, bytes, multiplies, options.length));
  }
  out.flush();
  return 0;
}

}  // namespace bertx::tools
