// bertx prune: a model in, a smaller one out: at once, or while it is trained.
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "bertx/compress.h"
#include "bertx/error.h"
#include "bertx/files.h"
#include "bertx/signals.h"
#include "commands.h"
#include "common/classify.h"
#include "common/evaluation.h"
#include "common/log.h"
#include "common/output.h"
#include "common/plan.h"
#include "common/progress.h"
#include "common/prune_report.h"
#include "common/text.h"
#include "common/training.h"

namespace bertx::tools {
namespace {

struct PruneFlags {
  TrainFlags train;
  compress::Recipe recipe;
  std::string scope = "local", export_form = "native";
  double regularization = 0;
  bool one_shot = false;
};

std::string method_list() {
  std::string out;
  for (const compress::Method& method : compress::methods()) {
    out += (out.empty() ? "" : "; ") + std::string(method.name) + ": " + std::string(method.summary);
  }
  return out;
}

void declare(Flags& flags, PruneFlags& prune) {
  compress::Recipe& r = prune.recipe;
  std::vector<std::string> names;
  for (const compress::Method& method : compress::methods()) names.emplace_back(method.name);
  flags.group("Pruning")
      .choice("method", &r.method, names, method_list())
      .number("sparsity", &r.sparsity, Range::below(0, 1),
              "share of zeros in the encoder's matrices; heads: of all heads")
      .choice("scope", &prune.scope, {"local", "global"}, "weights are ranked in each matrix, or over all together")
      .choice("export", &prune.export_form, {"native", "dense"},
              "native: bertx's compressed form; dense: a plain directory with exact zeros")
      .toggle("one_shot", &prune.one_shot, "prune at once, although training data is given")
      .number("schedule_begin", &r.schedule_begin, Range::between(0, 1), "share of the steps before the first zero")
      .number("schedule_end", &r.schedule_end, Range::between(0, 1),
              "share of the steps after which the sparsity stays")
      .number("initial_sparsity", &r.initial_sparsity, Range::below(0, 1), "at schedule_begin")
      .integer("mask_interval", &r.mask_interval, 1, 1 << 20, "steps between two rankings")
      .number("score_learning_rate", &r.score_learning_rate, Range::above(0, 1e3), "movement: rate of the scores")
      .number("regularization", &prune.regularization, Range::between(0, 1e9),
              "soft_movement: weight of the penalty; without it --sparsity steers it")
      .number("threshold", &r.threshold, Range::between(0, 1), "soft_movement: final threshold of the scores' sigmoid")
      .number("heads_per_round", &r.heads_per_round, Range::above(0, 1),
              "heads: share removed between two estimates of importance")
      .integer("importance_samples", &r.importance_samples, 1, 1ll << 40,
               "heads: texts that importance is measured on");
  add_training_flags(flags, prune.train);
  flags
      .example(
          "bertx prune --model_name_or_path out/sst2 --method magnitude --sparsity 0.9 \\\n"
          "    --task_name sst2 --data_dir glue --num_train_epochs 2 --output_dir out/sst2-90",
          "gradual magnitude pruning during two epochs")
      .example("bertx prune --model_name_or_path out/sst2 --sparsity 0.5 --output_dir out/sst2-50",
               "at once, without data");
}

void finish_flags(const Flags& flags, PruneFlags& prune) {
  prune.recipe.scope = prune.scope == "global" ? compress::Scope::global : compress::Scope::local;
  prune.recipe.seed = static_cast<std::uint64_t>(prune.train.run.seed);
  if (flags.given("regularization")) {
    prune.recipe.regularization = prune.regularization;
    prune.recipe.sparsity_is_stated = flags.given("sparsity");
  }
  prune.train.options.final_form = prune.export_form == "dense" ? ExportForm::dense : ExportForm::native;
  compress::check(prune.recipe);
  finish_training_flags(flags, prune.train);
}

/// Whether the recipe runs in a training, as its method and the given data ask.
bool decide_training(const PruneFlags& prune, const compress::Method& method) {
  const bool data = !prune.train.data.task_name.empty() || !prune.train.data.train_file.empty();
  if (!data && (method.needs_data || method.training == compress::Training::always)) {
    fail(ErrorKind::usage, "--method ", method.name,
         " needs labelled texts; expected --train_file, or --task_name with --data_dir");
  }
  if (prune.one_shot && method.training == compress::Training::always) {
    fail(ErrorKind::usage, "--one_shot: --method ", method.name, " works by training only");
  }
  return data && !prune.one_shot && method.training != compress::Training::never;
}

/// Model and tokenizer without training data; validation data where it is given.
Setup prepare_one_shot(PruneFlags& prune) {
  TrainFlags& train = prune.train;
  Setup setup;
  setup.backend = start_backend(train.run);
  setup.directory = resolve_model_directory(train.model);
  if (!train.dry_run) check_output_directory(train.output_dir, setup.directory);
  setup.tokenizer = Tokenizer::load(setup.directory);
  setup.model = load_model(*setup.backend, setup.directory);
  require_finite(*setup.backend, *setup.model, setup.directory.string());
  if (!train.data.validation_file.empty()) {
    require_classifier(setup.model->config, setup.directory);
    fit_length(train.data, train.max_seq_length_given, setup.model->config);
    setup.data = load_data(train.data, Wanted::validation, false, &setup.model->config, true);
    setup.signal = encode_data(setup.data, *setup.tokenizer, train.data);
  }
  return setup;
}

/// Prunes without training and writes the directory.
int prune_now(Setup& setup, const PruneFlags& prune, Figures* figures) {
  compress::Calibration calibration;
  if (setup.data.train) calibration = {setup.data.train->encoded, setup.data.kind};
  compress::compress_now(*setup.backend, *setup.model, prune.recipe, calibration);
  DirectoryWriter writer(prune.train.output_dir);
  save_model(*setup.backend, *setup.model, writer.path(), prune.train.options.final_form);
  setup.tokenizer->save(writer.path());
  writer.commit();
  ConsoleProgress progress;
  const int signal = evaluate_and_write(setup, prune.train, &progress, figures);
  return signal == 0 ? 0 : 128 + signal;
}

}  // namespace

int prune_command(const Arguments& arguments) {
  // 1. Flags.
  PruneFlags prune;
  Flags flags("prune", "make a smaller, faster model: zeros, fewer heads; at once or during training");
  declare(flags, prune);
  if (!flags.parse(arguments)) return 0;
  finish_flags(flags, prune);
  const compress::Method& method = compress::find_method(prune.recipe.method);
  const bool trains = decide_training(prune, method);
  const SignalScope signals;

  // 2. Model, tokenizer, data.
  TrainFlags& train = prune.train;
  const bool with_data = trains || !train.data.train_file.empty() || !train.data.task_name.empty();
  Setup setup = with_data ? prepare_training(train) : prepare_one_shot(prune);
  if (setup.signal != 0) return 128 + setup.signal;
  Output out;
  std::unique_ptr<TrainHook> hook;
  if (trains) {
    hook = compress::make_compressor(prune.recipe, {setup.data.train->encoded, setup.data.kind});
  }
  if (train.dry_run) {
    out.write(trains ? describe_training(setup, train, hook.get()) : describe_model(*setup.model, train.json));
    out.flush();
    return 0;
  }

  // 3. The recipe, during training or at once; the model is written in the form asked for.
  Figures figures;
  if (trains) {
    if (const int code = run_training(setup, train, hook.get(), &figures); code != 0) return code;
  } else {
    if (const int code = prune_now(setup, prune, &figures); code != 0) return code;
  }

  // 4. What came out: zeros, bytes, and how far the written model is from the one in memory.
  const PruneReport report = report_pruning(*setup.backend, *setup.model, setup.directory, train.output_dir);
  write_prune_results(report, train.output_dir);
  out.write(train.json ? prune_json(report, figures) + "\n" : prune_table(report, figures));
  out.flush();
  return 0;
}

}  // namespace bertx::tools
