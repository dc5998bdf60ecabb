// bertx bench: how long a forward pass takes, dense and sparse side by side in one process.
#include <omp.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bertx/error.h"
#include "bertx/files.h"
#include "bertx/model.h"
#include "commands.h"
#include "common/bench_models.h"
#include "common/bench_run.h"
#include "common/log.h"
#include "common/machine.h"
#include "common/output.h"
#include "common/run_options.h"
#include "common/table.h"
#include "common/text.h"

namespace bertx::tools {
namespace {

using Json = nlohmann::ordered_json;

struct BenchOptions {
  RunOptions run;
  std::string model, preset;
  std::vector<double> sparsity;
  std::vector<std::int64_t> batch{1}, tokens{128}, threads;
  std::int64_t reps = 15, warmup = 2;
  bool json = false, control = false;
};

Flags declare(BenchOptions& options) {
  Flags flags("bench", "forward latency of a model or of a named shape, dense and sparse interleaved");
  flags.positional("MODEL", &options.model, "directory of a model, or a cached Hub name; or --preset");
  flags.group("Benchmark")
      .text("model_name_or_path", &options.model, "DIR", "the same as MODEL")
      .alias("model")
      .choice("preset", &options.preset, {"bert-base", "bert-large", "minilm-l6"}, "a shape with random weights")
      .numbers("sparsity", &options.sparsity, Range::below(0, 1),
               "share of zeros in the encoder's matrices, by magnitude; a model without it: as it is, and as dense")
      .integers("batch", &options.batch, 1, 65536, "texts at a time")
      .integers("tokens", &options.tokens, 1, 1 << 20, "of each text; ids are random")
      .integers("threads", &options.threads, 1, 1024, "OpenMP threads; as OpenMP decides without it")
      .integer("reps", &options.reps, 1, 1 << 20, "timed passes of each row")
      .integer("warmup", &options.warmup, 0, 1 << 20, "passes before")
      .toggle("control", &options.control, "time the same zeros in dense matrices, too")
      .toggle("json", &options.json, "machine and rows as one JSON object on standard output");
  flags.group("General")
      .integer("seed", &options.run.seed, 0, std::numeric_limits<std::int64_t>::max(), "of weights and ids")
      .choice("device", &options.run.device, {"cpu", "cuda", "reference"}, "backend")
      .choice("log_level", &options.run.log_level, {"error", "warning", "info", "debug"}, "of messages on stderr");
  flags
      .example("bertx bench --preset bert-base --sparsity 0,0.8,0.9,0.95 --batch 1 --tokens 128 --threads 2",
               "dense and three sparsities, milliseconds a pass")
      .example("bertx bench out/sst2-90", "a pruned model beside the same numbers in dense matrices");
  return flags;
}

/// Milliseconds of the fastest pass of the dense row that `row` is compared with; 0 where there is none.
double dense_time(const std::vector<BenchRow>& rows, const BenchRow& row) {
  for (const BenchRow& other : rows) {
    const bool same = other.batch == row.batch && other.tokens == row.tokens && other.threads == row.threads;
    if (same && other.dense) return other.min_ms;
  }
  return 0;
}

std::string table_of(const std::vector<BenchRow>& rows) {
  Table table({"kernel", "zeros", "batch", "tokens", "threads", "min ms", "median ms", "ms a text", "speed-up"});
  for (const BenchRow& row : rows) {
    const double dense = dense_time(rows, row);
    table.row({row.kernel, percent_text(row.sparsity), std::to_string(row.batch), std::to_string(row.tokens),
               std::to_string(row.threads), fixed(row.min_ms, 3), fixed(row.median_ms, 3),
               fixed(row.min_ms / static_cast<double>(row.batch), 3), dense > 0 ? fixed(dense / row.min_ms, 2) : "-"});
  }
  return table.text();
}

Json json_of(const Machine& machine, const std::vector<BenchRow>& rows) {
  Json out;
  out["machine"] = Json{{"cpu", machine.cpu},
                        {"cores", machine.cores},
                        {"isa", machine.isa},
                        {"onednn", machine.onednn},
                        {"threads", machine.threads}};
  out["rows"] = Json::array();
  for (const BenchRow& row : rows) {
    out["rows"].push_back(Json{{"sparsity", row.sparsity},
                               {"batch", row.batch},
                               {"tokens", row.tokens},
                               {"threads", row.threads},
                               {"dtype", row.dtype},
                               {"kernel", row.kernel},
                               {"min_ms", row.min_ms},
                               {"median_ms", row.median_ms},
                               {"reps", row.reps},
                               {"max_difference", row.max_difference}});
  }
  return out;
}

}  // namespace

int bench_command(const Arguments& arguments) {
  // 1. Flags.
  BenchOptions options;
  Flags flags = declare(options);
  if (!flags.parse(arguments)) return 0;
  if (options.model.empty() == options.preset.empty()) {
    fail(ErrorKind::usage, "expected a model directory or --preset bert-base|bert-large|minilm-l6, and not both");
  }

  // 2. The model, and its variants: one for each sparsity.
  const auto backend = start_backend(options.run);
  if (options.threads.empty()) options.threads = {omp_get_max_threads()};
  const auto seed = static_cast<std::uint64_t>(options.run.seed);
  Model base = options.preset.empty() ? load_model(*backend, resolve_model_directory(options.model))
                                      : make_preset(*backend, options.preset, seed);
  for (const std::int64_t tokens : options.tokens) {
    if (tokens > base.config.positions) {
      fail(ErrorKind::usage, "--tokens: found ", tokens, "; the model has ", base.config.positions, " positions");
    }
  }
  std::vector<Variant> variants = options.sparsity.empty()
                                      ? stored_variants(*backend, base)
                                      : sparse_variants(*backend, base, options.sparsity, options.control);

  // 3. For each shape of batch: the variants in turn, again and again; results checked against each other.
  std::vector<BenchRow> rows;
  for (const std::int64_t threads : options.threads) {
    omp_set_num_threads(static_cast<int>(threads));
    for (const std::int64_t batch : options.batch) {
      for (const std::int64_t tokens : options.tokens) {
        log(LogLevel::debug, "batch ", batch, ", tokens ", tokens, ", threads ", threads);
        const BenchShape shape{batch, tokens, threads, options.reps, options.warmup};
        const auto more = run_interleaved(*backend, variants, shape, seed);
        rows.insert(rows.end(), more.begin(), more.end());
      }
    }
  }

  // 4. The report.
  Output out;
  const Machine machine = describe_machine();
  if (options.json) {
    out.line(json_of(machine, rows).dump(2));
  } else {
    out.line(text(machine.cpu, ", ", machine.cores, " cores, ", machine.isa, ", oneDNN ", machine.onednn, ", ",
                  backend->name(), " backend"));
    out.write(table_of(rows));
  }
  out.flush();
  return 0;
}

}  // namespace bertx::tools
