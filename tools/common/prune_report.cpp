#include "common/prune_report.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "bertx/error.h"
#include "bertx/files.h"
#include "bertx/safetensors.h"
#include "common/evaluation.h"
#include "common/table.h"
#include "common/text.h"

namespace bertx::tools {
namespace {

std::int64_t weight_bytes(const std::filesystem::path& directory) {
  const WeightFiles files = WeightFiles::open(directory);
  std::int64_t bytes = 0;
  for (const SafetensorsFile& file : files.files()) bytes += static_cast<std::int64_t>(file.file_bytes());
  return bytes;
}

/// A few sequences of random ids: short and long, so that attention sees both.
Batch random_batch(const Config& config) {
  std::mt19937 random(20190521);
  Batch batch;
  batch.starts.push_back(0);
  for (const std::int64_t wanted : {3, 17, 32, 64}) {
    const std::int64_t length = std::min(wanted, config.positions);
    for (std::int64_t i = 0; i < length; ++i) {
      batch.ids.push_back(static_cast<std::int32_t>(random() % static_cast<std::uint32_t>(config.vocab)));
    }
    batch.starts.push_back(static_cast<std::int32_t>(batch.ids.size()));
  }
  batch.types.assign(batch.ids.size(), 0);
  return batch;
}

std::vector<double> outputs_of(Backend& backend, const Model& model, const Batch& batch) {
  Arena arena(backend);
  Exec exec{backend, arena};
  const Tensor device = model.forward(exec, batch);
  std::vector<double> host(static_cast<std::size_t>(device.size()));
  backend.download(device, view(host.data(), device.rows, device.cols, DType::f64));
  return host;
}

Figures figures_of(const PruneReport& report) {
  return {{"prune_sparsity", report.model.sparsity()},
          {"prune_encoder_elements", static_cast<double>(report.model.encoder_elements)},
          {"prune_encoder_nonzeros", static_cast<double>(report.model.encoder_nonzeros)},
          {"prune_parameters", static_cast<double>(report.model.parameters)},
          {"prune_bytes_before", static_cast<double>(report.bytes_before)},
          {"prune_bytes_after", static_cast<double>(report.bytes_after)},
          {"prune_logit_difference", report.logit_difference}};
}

}  // namespace

PruneReport report_pruning(Backend& backend, Model& model, const std::filesystem::path& before,
                           const std::filesystem::path& after) {
  PruneReport report;
  model.refresh(backend);
  report.model = compress::report(backend, model);
  report.bytes_before = weight_bytes(before);
  report.bytes_after = weight_bytes(after);
  const Batch batch = random_batch(model.config);
  const Model written = load_model(backend, after);
  const auto in_memory = outputs_of(backend, model, batch), read_back = outputs_of(backend, written, batch);
  for (std::size_t i = 0; i < std::min(in_memory.size(), read_back.size()); ++i) {
    report.logit_difference = std::max(report.logit_difference, std::fabs(in_memory[i] - read_back[i]));
  }
  return report;
}

void write_prune_results(const PruneReport& report, const std::filesystem::path& directory) {
  write_results(directory, "prune", figures_of(report));
}

std::string prune_json(const PruneReport& report, const Figures& figures) {
  Figures all = figures_of(report);
  all.insert(all.end(), figures.begin(), figures.end());
  return figures_to_json(all);
}

std::string prune_table(const PruneReport& report, const Figures& figures) {
  Table table({"matrix", "kind", "shape", "nonzeros", "zeros"});
  for (const auto& matrix : report.model.matrices) {
    table.row({matrix.name, matrix.kind, bertx::text(matrix.out, " x ", matrix.in), count_text(matrix.nonzeros),
               percent_text(matrix.sparsity())});
  }
  std::string out = table.text();
  out += bertx::text(
      "\nencoder: ", percent_text(report.model.sparsity()), " zeros (", count_text(report.model.encoder_nonzeros),
      " of ", count_text(report.model.encoder_elements),
      " weights left)\nweight files: ", bytes_text(static_cast<double>(report.bytes_before)), " -> ",
      bytes_text(static_cast<double>(report.bytes_after)), "\nwritten model: ", report.lossless() ? "lossless, " : "",
      "logits differ from those in memory by at most ", number_text(static_cast<float>(report.logit_difference)), "\n");
  if (!figures.empty()) out += "\n" + figures_table(figures);
  return out;
}

}  // namespace bertx::tools
