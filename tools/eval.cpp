// bertx eval: how good a model is on labelled texts.
#include <algorithm>
#include <string>

#include "bertx/files.h"
#include "bertx/model.h"
#include "bertx/signals.h"
#include "bertx/tokenizer.h"
#include "bertx/train.h"
#include "commands.h"
#include "common/classify.h"
#include "common/data.h"
#include "common/evaluation.h"
#include "common/log.h"
#include "common/output.h"
#include "common/progress.h"
#include "common/run_options.h"

namespace bertx::tools {
namespace {

struct EvalCommandOptions {
  RunOptions run;
  DataOptions data;
  std::string model, output_dir;
  std::int64_t batch_size = 8;
  bool json = false;
};

Flags declare(EvalCommandOptions& options) {
  Flags flags("eval", "measure a model on labelled texts");
  flags.accepts_config();
  flags.group("Model")
      .text("model_name_or_path", &options.model, "DIR", "directory (or cached Hub name) of a classification model")
      .alias("model")
      .text("output_dir", &options.output_dir, "DIR", "where eval_results.json is written; none: nowhere")
      .integer("per_device_eval_batch_size", &options.batch_size, 1, 65536, "texts at a time")
      .alias("batch_size")
      .toggle("json", &options.json, "the figures as one JSON object on standard output");
  add_data_flags(flags, options.data, Wanted::validation);
  add_run_flags(flags, options.run);
  add_dtype_flag(flags, options.run);
  flags.example("bertx eval --model_name_or_path out/sst2 --task_name sst2 --data_dir glue --json", "a GLUE task")
      .example("bertx eval --model_name_or_path out/own --validation_file held-out.tsv", "own texts");
  return flags;
}

}  // namespace

int eval_command(const Arguments& arguments) {
  // 1. Flags.
  EvalCommandOptions options;
  Flags flags = declare(options);
  if (!flags.parse(arguments)) return 0;
  require(options.model, "model_name_or_path", "a directory of a classification model, or a cached Hub name");
  const SignalScope signals;

  // 2. Model and tokenizer.
  const auto backend = start_backend(options.run);
  const auto directory = resolve_model_directory(options.model);
  if (!options.output_dir.empty()) check_writable_directory(options.output_dir);
  Model model = load_classifier(*backend, directory);
  const Tokenizer tokenizer = Tokenizer::load(directory);
  fit_length(options.data, flags.given("max_seq_length"), model.config);

  // 3. Data, with the model's own label names.
  TaskData data = load_data(options.data, Wanted::validation, false, &model.config, true);
  if (const int signal = encode_data(data, tokenizer, options.data); signal != 0) return 128 + signal;

  // 4. Figures.
  ConsoleProgress progress;
  const Evaluated result = blame_weights(
      *backend, model, directory, [&] { return evaluate_parts(*backend, model, data, options.batch_size, &progress); });
  if (result.signal != 0) return 128 + result.signal;
  if (!options.output_dir.empty()) write_results(options.output_dir, "eval", result.figures);
  Output out;
  out.write(options.json ? figures_to_json(result.figures) + "\n" : figures_table(result.figures));
  out.flush();
  return 0;
}

}  // namespace bertx::tools
