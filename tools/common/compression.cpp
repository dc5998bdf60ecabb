#include "common/compression.h"

#include <optional>
#include <string>

#include "bertx/error.h"
#include "bertx/files.h"
#include "bertx/signals.h"
#include "common/classify.h"
#include "common/compression_report.h"
#include "common/evaluation.h"
#include "common/log.h"
#include "common/method_flags.h"
#include "common/output.h"
#include "common/plan.h"
#include "common/progress.h"
#include "common/text.h"

namespace bertx::tools {

// --- one compression -------------------------------------------------------------------------------------------

bool decide_training(const Compression& compression, bool at_once) {
  const compress::Method& method = compress::find_method(compression.recipe.method);
  const bool data = names_training_data(compression.train.data);
  if (!data && compression.has_method && compression.recipe.distribution == "sensitivity") {
    fail(ErrorKind::usage,
         "--distribution sensitivity needs labelled texts; expected --train_file, or --task_name with ", "--data_dir");
  }
  if (!data && (method.needs_data || method.training == compress::Training::always)) {
    fail(ErrorKind::usage, "--method ", method.name,
         " needs labelled texts; expected --train_file, or --task_name with --data_dir");
  }
  if (at_once && method.training == compress::Training::always) {
    fail(ErrorKind::usage, "--one_shot: --method ", method.name, " works by training only");
  }
  return data && !at_once && method.training != compress::Training::never;
}

namespace {

/// Model and tokenizer without training data; validation data where it is given.
Setup prepare_without_training_data(TrainFlags& train, TaskData* ready) {
  Setup setup;
  setup.backend = start_backend(train.run);
  setup.directory = resolve_model_directory(train.model);
  if (!train.dry_run) check_output_directory(train.output_dir, setup.directory);
  setup.tokenizer = Tokenizer::load(setup.directory);
  setup.model = load_model(*setup.backend, setup.directory);
  require_finite(*setup.backend, *setup.model, setup.directory.string());
  if (ready) {
    setup.data = std::move(*ready);
  } else if (!train.data.validation_file.empty()) {
    require_classifier(setup.model->config, setup.directory);
    fit_length(train.data, train.max_seq_length_given, setup.model->config);
    setup.data = load_data(train.data, Wanted::validation, false, &setup.model->config, true);
    setup.signal = encode_data(setup.data, *setup.tokenizer, train.data);
  }
  return setup;
}

/// The training texts, for methods that measure on them; empty where there are none.
compress::Calibration calibration_of(const TaskData& data) {
  if (!data.train) return {};
  return {data.train->encoded, data.kind, data.metrics.empty() ? "" : data.metrics.front(), data.positive};
}

/// Compresses without training and writes the directory.
int compress_at_once(Setup& setup, const Compression& compression, Figures* figures) {
  const TrainFlags& train = compression.train;
  compress::compress_now(*setup.backend, *setup.model, compression.recipe, calibration_of(setup.data));
  DirectoryWriter writer(train.output_dir);
  save_model(*setup.backend, *setup.model, writer.path(), train.options.final_form);
  setup.tokenizer->save(writer.path());
  writer.commit();
  ConsoleProgress progress;
  const int signal = evaluate_and_write(setup, train, &progress, figures);
  return signal == 0 ? 0 : 128 + signal;
}

/// Scores of hard movement that begin equal need the paper's tens of thousands of steps; in few a model falls to
/// chance (tools/experiments/results.md), which nobody should find out at the end.
void warn_of_equal_scores(const Setup& setup, const Compression& compression) {
  constexpr std::int64_t enough = 10000;
  const compress::Recipe& recipe = compression.recipe;
  if (!compression.has_method || recipe.method != "movement" || recipe.score_start > 0 || !setup.data.train) return;
  const auto texts = static_cast<std::int64_t>(setup.data.train->encoded.size());
  const std::int64_t steps = plan_training(compression.train.options, texts).total_steps;
  if (steps >= enough) return;
  log(LogLevel::warning, "movement: all scores begin equal, which wants tens of thousands of steps; found ", steps,
      ". With score_start 5 magnitudes decide first");
}

}  // namespace

Setup prepare_compression(Compression& compression, TaskData* ready) {
  if (names_training_data(compression.train.data)) return prepare_training(compression.train, ready);
  return prepare_without_training_data(compression.train, ready);
}

std::unique_ptr<TrainHook> make_hook(const Setup& setup, const Compression& compression) {
  if (!compression.has_method || !compression.trains) return nullptr;
  return compress::make_compressor(compression.recipe, calibration_of(setup.data));
}

int run_compression(Setup& setup, const Compression& compression, TrainHook* hook, Figures* figures) {
  warn_of_equal_scores(setup, compression);
  if (compression.trains) return run_training(setup, compression.train, hook, figures);
  return compress_at_once(setup, compression, figures);
}

// --- the command -----------------------------------------------------------------------------------------------

int compression_command(const CompressionCommand& command, const Arguments& arguments) {
  // 1. Flags.
  Compression compression;
  std::string export_form = "native";
  bool one_shot = false;
  LatencyFlags latency;
  Flags flags{std::string(command.name), std::string(command.summary)};
  add_method_flags(flags, command.title, command.families, compression.recipe);
  flags
      .choice("export", &export_form, {"native", "dense"},
              "native: bertx's compressed form; dense: a plain directory with exact zeros")
      .toggle("one_shot", &one_shot, "act at once, although training data is given");
  add_training_flags(flags, compression.train);
  add_latency_flags(flags, latency);
  for (const auto& [line, comment] : command.examples) flags.example(std::string(line), std::string(comment));
  if (!flags.parse(arguments)) return 0;
  TrainFlags& train = compression.train;
  train.options.final_form = export_form == "dense" ? ExportForm::dense : ExportForm::native;
  finish_method_flags(flags, compression.recipe, train);
  finish_training_flags(flags, train);
  compression.trains = decide_training(compression, one_shot);
  if (!compression.trains && !train.teacher.model.empty()) {
    fail(ErrorKind::usage,
         "--teacher: found one, but nothing is trained; expected training data and a method that trains");
  }
  const SignalScope signals;

  // 2. Model, tokenizer, data.
  Setup setup = prepare_compression(compression);
  if (setup.signal != 0) return 128 + setup.signal;
  Output out;
  const std::unique_ptr<TrainHook> hook = make_hook(setup, compression);
  if (train.dry_run) {
    out.write(compression.trains ? describe_training(setup, train, hook.get())
                                 : describe_model(*setup.model, train.json));
    out.flush();
    return 0;
  }

  // 3. The method, during training or at once; the model is written in the form asked for.
  Figures figures;
  if (const int code = run_compression(setup, compression, hook.get(), &figures); code != 0) return code;

  // 4. What came out, and how far the written model is from the one in memory.
  const CompressionReport report =
      report_compression(*setup.backend, *setup.model, setup.directory, train.output_dir, latency);
  write_compression_results(report, train.output_dir);
  out.write(train.json ? compression_json(report, figures) + "\n" : compression_table(report, figures));
  out.flush();
  return 0;
}

}  // namespace bertx::tools
