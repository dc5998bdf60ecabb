// bertx bench: how long a forward pass, an update or a product takes, dense and sparse side by side in one process.
#include <omp.h>

#include "bench/kernels.h"
#include "bench/options.h"
#include "bench/report.h"
#include "bench/training.h"
#include "bertx/error.h"
#include "bertx/files.h"
#include "bertx/model.h"
#include "commands.h"
#include "common/log.h"
#include "common/machine.h"
#include "common/output.h"
#include "common/text.h"

namespace bertx::tools {
namespace {

Config config_of(const BenchOptions& options) {
  return options.preset.empty() ? read_config(resolve_model_directory(options.model)) : preset_config(options.preset);
}

Model make_one(Backend& backend, const BenchOptions& options) {
  return options.preset.empty()
             ? load_model(backend, resolve_model_directory(options.model))
             : make_model(backend, preset_config(options.preset), static_cast<std::uint64_t>(options.run.seed));
}

/// The sets of texts that are timed beside each other, one group after the other.
std::vector<std::vector<Texts>> groups_of(const BenchOptions& options, const Config& config) {
  std::vector<std::vector<Texts>> groups;
  for (const std::int64_t batch : options.batch) {
    if (!options.lengths.empty()) {
      const auto seed = static_cast<std::uint64_t>(options.run.seed);
      const Texts ragged = ragged_texts(options.lengths, batch, config.positions, seed);
      groups.push_back({ragged, padded(ragged)});
      continue;
    }
    for (const std::int64_t tokens : options.tokens) {
      if (tokens > config.positions) {
        fail(ErrorKind::usage, "--tokens: found ", tokens, "; the model has ", config.positions, " positions");
      }
      groups.push_back({equal_texts(batch, tokens)});
    }
  }
  return groups;
}

/// Calls `run` for every number of threads.
template <class Run>
void for_each_threads(const BenchOptions& options, const Run& run) {
  for (const std::int64_t threads : options.threads) {
    omp_set_num_threads(static_cast<int>(threads));
    log(LogLevel::debug, "threads: ", threads);
    run(BenchRuns{threads, options.reps, options.warmup, static_cast<std::uint64_t>(options.run.seed)});
  }
}

std::vector<BenchRow> bench_models(Backend& backend, const BenchOptions& options,
                                   std::vector<Explanation>& explanations) {
  const auto groups = groups_of(options, config_of(options));
  const auto seed = static_cast<std::uint64_t>(options.run.seed);
  std::vector<BenchRow> rows;
  const auto add = [&](const std::vector<BenchRow>& more) { rows.insert(rows.end(), more.begin(), more.end()); };
  if (options.mode == "train") {
    const MakeModel make = [&] { return make_one(backend, options); };
    std::vector<Trainee> models = trainees(backend, make, options.sparsity, options.control, seed);
    for_each_threads(options, [&](const BenchRuns& runs) {
      for (const auto& texts : groups) add(time_training(backend, make, models, texts, runs));
    });
  } else {
    Model base = make_one(backend, options);
    std::vector<Variant> variants = options.sparsity.empty()
                                        ? stored_variants(backend, base, options.control, seed)
                                        : sparse_variants(backend, base, options.sparsity, options.control);
    for_each_threads(options, [&](const BenchRuns& runs) {
      for (const auto& texts : groups) add(time_forward(backend, variants, texts, runs));
      for (Variant& variant : variants) {
        if (!options.explain || !variant.timed) continue;
        const std::string name = text(percent_text(variant.sparsity), " zeros, ", runs.threads, " threads");
        const auto more = explain(variant.model, name);
        explanations.insert(explanations.end(), more.begin(), more.end());
      }
    });
  }
  return rows;
}

std::vector<KernelRow> bench_kernels(Backend& backend, const BenchOptions& options) {
  const auto seed = static_cast<std::uint64_t>(options.run.seed);
  std::vector<KernelMatrix> matrices;
  if (options.preset.empty() && options.sparsity.empty()) {
    Model model = make_one(backend, options);
    if (!is_dense(model)) matrices = stored_matrices(backend, model, seed);
  }
  if (matrices.empty()) {
    const std::vector<double> usual{0.8, 0.9, 0.95};
    matrices = random_matrices(backend, config_of(options), options.sparsity.empty() ? usual : options.sparsity, seed);
  }
  std::vector<std::int64_t> columns;  // a product sees the tokens of all texts side by side
  for (const std::int64_t batch : options.batch) {
    for (const std::int64_t tokens : options.tokens) columns.push_back(batch * tokens);
  }
  std::vector<KernelRow> rows;
  for_each_threads(options, [&](const BenchRuns& runs) {
    const auto more = time_kernels(backend, matrices, columns, runs);
    rows.insert(rows.end(), more.begin(), more.end());
  });
  return rows;
}

}  // namespace

int bench_command(const Arguments& arguments) {
  // 1. Flags.
  BenchOptions options;
  Flags flags = bench_flags(options);
  if (!flags.parse(arguments)) return 0;
  check_bench_options(flags, options);
  const auto backend = start_backend(options.run);
  if (options.threads.empty()) options.threads = {omp_get_max_threads()};

  // 2. The measurement, and 3. the report.
  BenchSubject subject{options.preset.empty() ? options.model : options.preset,
                       options.kernels ? "kernels" : options.mode, std::string(backend->name()), describe_machine()};
  Output out;
  if (options.kernels) {
    const auto rows = bench_kernels(*backend, options);
    options.json ? out.line(kernel_json(subject, rows)) : out.write(kernel_table(subject, rows));
  } else {
    std::vector<Explanation> explanations;
    const auto rows = bench_models(*backend, options, explanations);
    if (!options.plot.empty()) write_text_file(options.plot, model_plot(subject, rows));
    options.json ? out.line(model_json(subject, rows, explanations)) : out.write(model_table(subject, rows));
    if (options.explain && !options.json) out.write(explanation_text(explanations));
  }
  out.flush();
  return 0;
}

}  // namespace bertx::tools
