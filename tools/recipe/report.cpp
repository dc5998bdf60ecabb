#include "recipe/report.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "bertx/error.h"
#include "bertx/files.h"
#include "common/evaluation.h"
#include "common/log.h"
#include "common/table.h"
#include "common/text.h"
#include "io/json.h"

namespace bertx::tools {
namespace {

using Json = nlohmann::ordered_json;

/// What a step has measured when it ended; none where it had nothing to measure on.
Figures read_figures(const std::filesystem::path& directory) {
  const auto path = directory / "eval_results.json";
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return {};
  const nlohmann::json json = parse_json_file(path, 1u << 20);
  if (!json.is_object())
    fail(ErrorKind::bad_input, path.string(), ": found ", json_found(json), ", expected an object");
  Figures figures;
  for (const auto& [name, value] : json.items()) {
    if (value.is_number() || value.is_null()) {
      figures.emplace_back(name, value.is_null() ? std::nan("") : value.get<double>());
    }
  }
  return figures;
}

/// The original on the validation data, where it has a head for their labels.
int measure_original(Backend& backend, Model& model, const TaskData& data, std::int64_t batch_size, Figures& figures) {
  if (data.validation.empty() || model.config.head != HeadKind::sequence_classification) return 0;
  const std::size_t outputs = data.kind == LabelKind::regression ? 1 : data.labels.size();
  if (model.config.labels.size() != outputs) return 0;
  model.config.problem = model.head.problem = problem_of(data.kind);
  Evaluated evaluated = evaluate_parts(backend, model, data, batch_size, nullptr);
  figures = std::move(evaluated.figures);
  return evaluated.signal;
}

double figure_of(const Station& station, const std::string& name) {
  const auto found = std::ranges::find(station.figures, name, &Figures::value_type::first);
  return found == station.figures.end() ? std::nan("") : found->second;
}

std::string ratio_text(double before, double after) {
  return before > 0 && after > 0 ? fixed(before / after, 2) + "x" : "-";
}

Json station_json(const RecipeReport& report, const Station& station) {
  const ModelCost& cost = station.cost;
  Json json{{"name", station.name},
            {"directory", station.directory.string()},
            {"parameters", cost.model.parameters},
            {"encoder_elements", cost.model.encoder_elements},
            {"encoder_nonzeros", cost.model.encoder_nonzeros},
            {"sparsity", cost.model.sparsity()},
            {"bytes", cost.bytes},
            {"multiplies", cost.multiplies.total()}};
  if (report.timed) {
    json["latency_median_ms"] = station.latency.median_ms;
    json["latency_min_ms"] = station.latency.min_ms;
  }
  for (const auto& [name, value] : station.figures) {
    json["figures"][name] = std::isfinite(value) ? Json(value) : Json(nullptr);
  }
  return json;
}

}  // namespace

RecipeReport report_recipe(Backend& backend, std::vector<Station> stations, const TaskData& data,
                           const LatencyFlags& latency, std::int64_t batch_size) {
  RecipeReport report;
  std::vector<Model> models;
  for (const Station& station : stations) models.push_back(load_model(backend, station.directory));
  report.tokens = latency_tokens(latency, models.front().config);
  std::vector<Model*> in_turn;
  for (std::size_t i = 0; i < stations.size(); ++i) {
    stations[i].cost = cost_of(backend, models[i], stations[i].directory, report.tokens);
    if (i > 0) stations[i].figures = read_figures(stations[i].directory);
    in_turn.push_back(&models[i]);
  }
  const std::vector<Timing> times = measure_latency(backend, in_turn, latency);
  report.timed = !times.empty();
  for (std::size_t i = 0; i < times.size(); ++i) stations[i].latency = times[i];
  models.front().prepare(backend);
  report.signal = measure_original(backend, models.front(), data, batch_size, stations.front().figures);

  if (!data.validation.empty()) {
    const std::vector<std::string_view> usual = default_metrics(data.kind);
    const std::string name = "eval_" + (data.metrics.empty() ? std::string(usual.front()) : data.metrics.front());
    const auto measured = [&](const Station& station) { return std::isfinite(figure_of(station, name)); };
    if (std::ranges::any_of(stations, measured)) report.metric = name;
  }
  report.stations = std::move(stations);
  return report;
}

std::string recipe_table(const RecipeReport& report) {
  std::vector<std::string> header{"", "parameters", "zeros", "weight files", "multiplies"};
  if (report.timed) header.insert(header.end(), {"latency", "speed-up"});
  if (!report.metric.empty()) header.push_back(report.metric.substr(5));
  Table table(header);
  const Station &first = report.stations.front(), &last = report.stations.back();
  for (const Station& station : report.stations) {
    const ModelCost& cost = station.cost;
    std::vector<std::string> row{station.name, count_text(cost.model.parameters), percent_text(cost.model.sparsity()),
                                 bytes_text(static_cast<double>(cost.bytes)),
                                 scaled_text(static_cast<double>(cost.multiplies.total()))};
    if (report.timed) {
      row.push_back(fixed(station.latency.median_ms, 2) + " ms");
      row.push_back(ratio_text(first.latency.median_ms, station.latency.median_ms));
    }
    if (!report.metric.empty()) {
      const double metric = figure_of(station, report.metric);
      row.push_back(std::isfinite(metric) ? fixed(metric, 4) : "-");
    }
    table.row(row);
  }
  const auto ratio = [&](auto of) { return ratio_text(static_cast<double>(of(first)), static_cast<double>(of(last))); };
  std::string out =
      table.text() + text("\nin all: ", ratio([](const Station& s) { return s.cost.model.parameters; }),
                          " fewer parameters, ", ratio([](const Station& s) { return s.cost.bytes; }), " fewer bytes, ",
                          ratio([](const Station& s) { return s.cost.multiplies.total(); }), " fewer multiplies");
  if (report.timed) out += ", " + ratio([](const Station& s) { return s.latency.median_ms; }) + " faster";
  return out + text("; multiplies", report.timed ? " and median latency" : "", " of one text of ", report.tokens,
                    " tokens\n");
}

std::string recipe_json(const RecipeReport& report) {
  Json steps = Json::array();
  for (std::size_t i = 1; i < report.stations.size(); ++i) {
    steps.push_back(station_json(report, report.stations[i]));
  }
  const Station &first = report.stations.front(), &last = report.stations.back();
  const auto ratio = [](double before, double after) { return after > 0 ? Json(before / after) : Json(nullptr); };
  const auto whole = [&](std::int64_t before, std::int64_t after) {
    return ratio(static_cast<double>(before), static_cast<double>(after));
  };
  Json total{{"parameters", whole(first.cost.model.parameters, last.cost.model.parameters)},
             {"bytes", whole(first.cost.bytes, last.cost.bytes)},
             {"multiplies", whole(first.cost.multiplies.total(), last.cost.multiplies.total())}};
  if (report.timed) total["latency"] = ratio(first.latency.median_ms, last.latency.median_ms);
  if (!report.metric.empty()) {
    const double change = figure_of(last, report.metric) - figure_of(first, report.metric);
    total["metric_change"] = std::isfinite(change) ? Json(change) : Json(nullptr);
  }
  const Json out{{"tokens", report.tokens},
                 {"metric", report.metric.empty() ? Json(nullptr) : Json(report.metric)},
                 {"original", station_json(report, first)},
                 {"steps", steps},
                 {"before_over_after", total}};
  return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace bertx::tools
