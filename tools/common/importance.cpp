#include "common/importance.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "bertx/error.h"
#include "bertx/files.h"
#include "common/table.h"
#include "common/text.h"
#include "io/json.h"

namespace bertx::tools {
namespace {

using Json = nlohmann::ordered_json;

Json to_json(const ImportanceSet& set) {
  Json out{{"model", set.model}, {"data", set.data}, {"split", set.split}, {"seed", nullptr},
           {"texts", set.texts}, {"per", set.per},   {"heads", set.heads}};
  if (set.seed) out["seed"] = *set.seed;
  for (const NeuronSummary& layer : set.neurons) {
    out["neurons"].push_back({{"count", layer.count},
                              {"mean", layer.mean},
                              {"median", layer.median},
                              {"largest", layer.largest},
                              {"half", layer.half}});
  }
  return out;
}

constexpr std::int64_t kMost = 1024;          // layers, and heads of a layer
constexpr std::size_t kMostHeads = 1u << 14;  // of all layers: pairs of them are looked at

std::vector<double> read_layer(const nlohmann::json& list, const std::string& where) {
  if (!list.is_array() || list.size() > static_cast<std::size_t>(kMost)) {
    fail(ErrorKind::bad_input, where, ": found ", json_found(list), "; expected at most ", kMost,
         " numbers, one a head");
  }
  std::vector<double> heads;
  for (const nlohmann::json& value : list) {
    if (!value.is_number() || !(value.get<double>() >= 0)) {
      fail(ErrorKind::bad_input, where, ": found ", json_found(value), "; expected an importance, 0 or more");
    }
    heads.push_back(value.get<double>());
  }
  return heads;
}

NeuronSummary read_neurons(const nlohmann::json& value, const std::string& where) {
  const JsonObject layer(value, where);
  const auto number = [&](std::string_view key) {
    return layer.number(key, 0, 0, std::numeric_limits<double>::infinity(), "a number, 0 or more");
  };
  return {layer.integer("count", 0, 1 << 30), number("mean"), number("median"), number("largest"),
          layer.integer("half", 0, 1 << 30)};
}

ImportanceSet read_set(const nlohmann::json& value, const std::string& where) {
  const JsonObject object(value, where);
  ImportanceSet set;
  set.model = object.string("model");
  set.data = object.string("data");
  set.split = object.string("split", "");
  set.per = object.string("per");
  set.texts = object.integer("texts", 0, 1ll << 40);
  if (object.has("seed")) set.seed = object.integer("seed", 0, std::numeric_limits<std::int64_t>::max());
  const nlohmann::json& heads = object.at("heads");
  if (!heads.is_array() || heads.empty() || heads.size() > static_cast<std::size_t>(kMost)) {
    object.fail_at("heads", "1 to " + std::to_string(kMost) + " lists, one a layer");
  }
  std::size_t count = 0;
  for (std::size_t l = 0; l < heads.size(); ++l) {
    set.heads.push_back(read_layer(heads[l], where + ": heads: " + std::to_string(l)));
    count += set.heads.back().size();
  }
  if (count > kMostHeads) object.fail_at("heads", "at most " + std::to_string(kMostHeads) + " heads");
  if (!object.has("neurons")) return set;
  const nlohmann::json& neurons = object.at("neurons");
  if (!neurons.is_array() || neurons.size() != set.heads.size()) object.fail_at("neurons", "one entry a layer");
  for (std::size_t l = 0; l < neurons.size(); ++l) {
    set.neurons.push_back(read_neurons(neurons[l], where + ": neurons: " + std::to_string(l)));
  }
  return set;
}

}  // namespace

NeuronSummary summary_of(std::vector<double> importance) {
  NeuronSummary out;
  out.count = static_cast<std::int64_t>(importance.size());
  if (importance.empty()) return out;
  std::ranges::sort(importance, std::greater<>());
  const std::size_t n = importance.size();
  const double sum = std::accumulate(importance.begin(), importance.end(), 0.0);
  out.mean = sum / static_cast<double>(n);
  out.median = (importance[n / 2] + importance[(n - 1) / 2]) / 2;
  out.largest = importance.front();
  for (double held = 0; held < sum / 2; ++out.half) held += importance[static_cast<std::size_t>(out.half)];
  return out;
}

std::vector<double> compared_importance(const ImportanceSet& set) {
  std::vector<double> all;
  for (const std::vector<double>& layer : set.heads) {
    const double norm = std::sqrt(std::inner_product(layer.begin(), layer.end(), layer.begin(), 0.0));
    for (const double head : layer) all.push_back(norm > 0 ? head / norm : 0.0);
  }
  return all;
}

std::string importance_json(const std::vector<ImportanceSet>& sets) {
  Json out{{"bertx_importance", 1}, {"sets", Json::array()}};
  for (const ImportanceSet& set : sets) out["sets"].push_back(to_json(set));
  return out.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::vector<ImportanceSet> read_importance(const std::filesystem::path& file) {
  const nlohmann::json root = parse_json_file(file);
  const JsonObject object(root, file.string());
  object.integer("bertx_importance", 1, 1);
  const nlohmann::json& list = object.at("sets");
  if (!list.is_array() || list.empty() || list.size() > 64) object.fail_at("sets", "a list of 1 to 64 sets");
  std::vector<ImportanceSet> sets;
  for (std::size_t i = 0; i < list.size(); ++i) {
    sets.push_back(read_set(list[i], file.string() + ": sets: " + std::to_string(i)));
  }
  return sets;
}

std::string importance_table(const ImportanceSet& set) {
  std::size_t most = 0;
  for (const auto& layer : set.heads) most = std::max(most, layer.size());
  std::vector<std::string> header{"layer"};
  for (std::size_t h = 0; h < most; ++h) header.push_back("head " + std::to_string(h));
  header.emplace_back("length");
  Table table(header);
  const std::vector<double> compared = compared_importance(set);
  std::size_t at = 0;
  for (std::size_t l = 0; l < set.heads.size(); ++l) {
    std::vector<std::string> row{std::to_string(l)};
    double squares = 0;
    for (const double head : set.heads[l]) {
      row.push_back(fixed(compared[at++], 3));
      squares += head * head;
    }
    row.resize(most + 1);
    row.push_back(number_text(static_cast<float>(std::sqrt(squares))));
    table.row(std::move(row));
  }
  std::string out =
      bertx::text(printable(set.data), " (", set.split, "), ", set.texts, " texts: importance of heads per ", set.per,
                  "; each layer is divided by its length\n", table.text());
  if (set.neurons.empty()) return out;
  Table neurons({"layer", "neurons", "mean", "median", "largest", "hold half"});
  const auto short_text = [](double x) { return number_text(static_cast<float>(x)); };
  for (std::size_t l = 0; l < set.neurons.size(); ++l) {
    const NeuronSummary& layer = set.neurons[l];
    neurons.row({std::to_string(l), std::to_string(layer.count), short_text(layer.mean), short_text(layer.median),
                 short_text(layer.largest), std::to_string(layer.half)});
  }
  return out + "\n" + neurons.text();
}

}  // namespace bertx::tools
