#include "common/compression_report.h"

#include "bertx/error.h"
#include "bertx/files.h"
#include "common/evaluation.h"
#include "common/table.h"
#include "common/text.h"

namespace bertx::tools {
namespace {

void add_cost(Figures& figures, const std::string& name, std::int64_t before, std::int64_t after) {
  figures.emplace_back("compression_" + name + "_before", static_cast<double>(before));
  figures.emplace_back("compression_" + name + "_after", static_cast<double>(after));
}

Figures figures_of(const CompressionReport& report) {
  const auto &before = report.before, &after = report.after;
  Figures figures{{"compression_sparsity", after.model.sparsity()},
                  {"compression_encoder_elements", static_cast<double>(after.model.encoder_elements)},
                  {"compression_encoder_nonzeros", static_cast<double>(after.model.encoder_nonzeros)}};
  add_cost(figures, "parameters", before.model.parameters, after.model.parameters);
  add_cost(figures, "bytes", before.bytes, after.bytes);
  add_cost(figures, "multiplies", before.multiplies.total(), after.multiplies.total());
  figures.emplace_back("compression_tokens", static_cast<double>(report.tokens));
  for (std::size_t i = 0; i < report.latency.size(); ++i) {
    const std::string which = i == 0 ? "before" : "after";
    figures.emplace_back("compression_latency_median_ms_" + which, report.latency[i].median_ms);
    figures.emplace_back("compression_latency_min_ms_" + which, report.latency[i].min_ms);
  }
  figures.emplace_back("compression_logit_difference", report.logit_difference);
  return figures;
}

/// "after / before" as a factor: "2.1x less".
std::string factor_text(double before, double after) {
  if (!(before > 0) || !(after > 0)) return "";
  return after <= before ? fixed(before / after, 2) + "x less" : fixed(after / before, 2) + "x more";
}

std::string costs_table(const CompressionReport& report) {
  Table table({"", "before", "after", ""});
  const auto row = [&](const std::string& name, double before, double after, auto shown) {
    table.row({name, shown(before), shown(after), factor_text(before, after)});
  };
  const auto counted = [](double n) { return count_text(static_cast<std::int64_t>(n)); };
  const auto &before = report.before, &after = report.after;
  row("parameters", static_cast<double>(before.model.parameters), static_cast<double>(after.model.parameters), counted);
  row("weight files", static_cast<double>(before.bytes), static_cast<double>(after.bytes), bytes_text);
  row(bertx::text("multiplies, ", report.tokens, " tokens"), static_cast<double>(before.multiplies.total()),
      static_cast<double>(after.multiplies.total()), scaled_text);
  if (!report.latency.empty()) {
    const auto milliseconds = [](double ms) { return fixed(ms, 2) + " ms"; };
    row("latency, median", report.latency[0].median_ms, report.latency[1].median_ms, milliseconds);
    row("latency, fastest", report.latency[0].min_ms, report.latency[1].min_ms, milliseconds);
  }
  return table.text();
}

}  // namespace

CompressionReport report_compression(Backend& backend, Model& model, const std::filesystem::path& before,
                                     const std::filesystem::path& after, const LatencyFlags& latency) {
  CompressionReport report;
  report.tokens = latency_tokens(latency, model.config);
  model.refresh(backend);
  Model original = load_model(backend, before), written = load_model(backend, after);
  report.before = cost_of(backend, original, before, report.tokens);
  report.after = cost_of(backend, model, after, report.tokens);
  report.logit_difference = logit_difference(backend, model, written);
  report.latency = measure_latency(backend, {&original, &written}, latency);
  return report;
}

void write_compression_results(const CompressionReport& report, const std::filesystem::path& directory) {
  write_results(directory, "compression", figures_of(report));
}

std::string compression_json(const CompressionReport& report, const Figures& figures) {
  Figures all = figures_of(report);
  all.insert(all.end(), figures.begin(), figures.end());
  return figures_to_json(all);
}

std::string compression_table(const CompressionReport& report, const Figures& figures) {
  Table table({"matrix", "kind", "shape", "nonzeros", "zeros"});
  for (const auto& matrix : report.after.model.matrices) {
    table.row({matrix.name, matrix.kind, bertx::text(matrix.out, " x ", matrix.in), count_text(matrix.nonzeros),
               percent_text(matrix.sparsity())});
  }
  const compress::Report& model = report.after.model;
  std::string out = table.text();
  out += "\n" + costs_table(report);
  out += bertx::text(
      "\nencoder: ", percent_text(model.sparsity()), " zeros (", count_text(model.encoder_nonzeros), " of ",
      count_text(model.encoder_elements), " weights left)\nwritten model: ", report.lossless() ? "lossless, " : "",
      "logits differ from those in memory by at most ", number_text(static_cast<float>(report.logit_difference)), "\n");
  if (!figures.empty()) out += "\n" + figures_table(figures);
  return out;
}

}  // namespace bertx::tools
