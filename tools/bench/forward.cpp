#include "bench/forward.h"

#include <algorithm>
#include <cmath>
#include <deque>

#include "bench/timing.h"
#include "bertx/error.h"
#include "bertx/recorded_passes.h"

namespace bertx::tools {
namespace {

/// One forward pass, arena and all; the logits come back to the host, which waits for the device.
void pass(Backend& backend, Arena& arena, RecordedPasses& passes, const Batch& batch, std::vector<float>& logits) {
  arena.reset();
  Exec exec{backend, arena};
  const Tensor found = passes.forward(exec, batch);
  logits.resize(static_cast<std::size_t>(found.size()));
  backend.download(found, view(logits.data(), found.rows, found.cols, DType::f32));
}

double checked_difference(const std::vector<float>& found, const std::vector<float>& expected,
                          const std::string& kernel, double accepted) {
  double difference = 0, scale = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    difference = std::max(difference, std::fabs(static_cast<double>(found[i]) - expected[i]));
    scale = std::max(scale, std::fabs(static_cast<double>(expected[i])));
  }
  if (!(difference <= accepted * std::max(scale, 1e-3))) {
    fail(ErrorKind::numeric, "kernel ", kernel, ": logits differ by ", difference,
         " from those of dense matrices with the same zeros, whose largest is ", scale, "; expected at most ", accepted,
         " of it");
  }
  return difference;
}

/// One variant on one set of texts.
struct Cell {
  const Variant* variant;
  RecordedPasses* passes;
  std::size_t texts;
  BenchRow row;
  std::vector<float> logits;
  std::vector<double> times;
};

}  // namespace

std::string dtype_name(DType type) { return type == DType::f64 ? "f64" : "f32"; }

double accepted_difference(const Backend& backend) {
  return backend.products() == DType::bf16 ? 3e-2 : backend.tf32() ? 4e-3 : 1e-4;
}

std::vector<BenchRow> time_forward(Backend& backend, std::vector<Variant>& variants, const std::vector<Texts>& texts,
                                   const BenchRuns& runs) {
  std::vector<Batch> batches;
  for (const Texts& t : texts) {
    batches.push_back(random_batch(variants.front().model.config, t, runs.seed, false));
  }
  Arena arena(backend);
  std::deque<RecordedPasses> passes;  // of the variants
  for (Variant& variant : variants) {
    variant.model.refresh(backend);  // kernels are chosen for a number of threads
    variant.model.prepare(backend);
    passes.emplace_back(backend, variant.model);
  }

  // 1. Every variant once, for the check.
  std::vector<Cell> cells;
  for (std::size_t t = 0; t < texts.size(); ++t) {
    const std::size_t first = cells.size();
    for (std::size_t v = 0; v < variants.size(); ++v) {
      Variant& variant = variants[v];
      Cell cell{&variant, &passes[v], t, {}, {}, {}};
      cell.row.kernel = kernels_of(variant.model) + (variant.note.empty() ? "" : " (" + variant.note + ")");
      pass(backend, arena, passes[v], batches[t], cell.logits);
      if (variant.same_numbers_as >= 0) {
        const Cell& twin = cells[first + static_cast<std::size_t>(variant.same_numbers_as)];
        cell.row.max_difference =
            checked_difference(cell.logits, twin.logits, cell.row.kernel, accepted_difference(backend));
      }
      cells.push_back(std::move(cell));
    }
  }
  std::erase_if(cells, [](const Cell& cell) { return !cell.variant->timed; });

  // 2. Those that are timed, in turn.
  for (std::int64_t rep = -runs.warmup; rep < runs.reps; ++rep) {
    for (Cell& cell : cells) {
      const double ms = milliseconds([&] { pass(backend, arena, *cell.passes, batches[cell.texts], cell.logits); });
      if (rep >= 0) cell.times.push_back(ms);
    }
  }

  // 3. Rows.
  std::vector<BenchRow> rows;
  for (Cell& cell : cells) {
    BenchRow& row = rows.emplace_back(std::move(cell.row));
    const Timing timing = timing_of(std::move(cell.times));
    row.sparsity = cell.variant->sparsity;
    row.texts = texts[cell.texts];
    row.threads = runs.threads;
    row.dtype = precision_of(backend);
    row.min_ms = timing.min_ms;
    row.median_ms = timing.median_ms;
    row.reps = runs.reps;
    row.dense = cell.variant->dense;
  }
  return rows;
}

}  // namespace bertx::tools
