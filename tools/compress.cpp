// bertx compress: a recipe of several methods, step by step; a second call goes on where the first one ended.
#include "bertx/error.h"
#include "bertx/files.h"
#include "bertx/signals.h"
#include "commands.h"
#include "common/log.h"
#include "common/output.h"
#include "recipe/report.h"
#include "recipe/run.h"
#include "recipe/steps.h"
#include "train/directory_lock.h"

namespace bertx::tools {
namespace {

namespace fs = std::filesystem;

struct CompressFlags {
  std::string recipe, plot;
  LatencyFlags latency;
  TrainFlags train;  ///< where the flags lie; the steps read them from Flags
};

Flags declare(CompressFlags& options) {
  Flags flags("compress", "a recipe of several methods, step by step; the same command goes on where it was stopped");
  flags.group("Recipe")
      .text("recipe", &options.recipe, "FILE", "the steps, as JSON; see below")
      .text("plot", &options.plot, "FILE", "a picture of the metric, the latency and the bytes of every step, as SVG");
  add_training_flags(flags, options.train);
  add_latency_flags(flags, options.latency);
  flags.section("The recipe",
                {{"\"steps\"",
                  "a list; each step has a \"method\" (bertx help methods) and its options. With \"train\", an object "
                  "of flags of bertx train, the method acts in a training, else at once. \"fine_tune\" only trains"},
                 {"\"train\"", "beside the steps: flags for all of them"},
                 {"precedence",
                  "a step's own \"train\", then the \"train\" beside the steps, then the command line: the recipe "
                  "wins over flags, which are its defaults. Model, output and --dry_run are the command line's"},
                 {"results",
                  "output_dir/step-<n>-<method> for each step, the last one's files also in output_dir, "
                  "compress_results.json, and compress_state.json, by which finished steps are skipped"}});
  flags.example(
      "bertx compress --recipe compress/recipes/structured.json --model_name_or_path out/sst2 \\\n"
      "    --task_name sst2 --data_dir glue --output_dir out/sst2-small --plot small.svg",
      "half of the heads, then half of the neurons, then fine-tuning");
  flags.example("bertx compress --recipe my.json --model out/sst2 --output_dir out/small --dry_run",
                "check everything, run nothing");
  return flags;
}

/// Flags that a recipe has no use for, or must have. Throws Error(usage).
void check_flags(const CompressFlags& options) {
  require(options.recipe, "recipe", "a file of steps");
  require(options.train.model, "model_name_or_path", "a Hugging Face directory, or the name of a cached Hub model");
  require(options.train.output_dir, "output_dir", "a directory for the steps and the new model");
  if (!options.train.resume_from_checkpoint.empty()) {
    fail(ErrorKind::usage, "--resume_from_checkpoint: bertx compress finds by itself what to go on from");
  }
  if (!options.plot.empty()) check_writable_file(options.plot, "plot");
}

std::vector<Station> stations_of(const Steps& steps, const RecipeState& state, const fs::path& model) {
  std::vector<Station> stations(1);
  stations.front().name = "original";
  stations.front().directory = model;
  for (std::size_t i = 0; i < steps.steps.size(); ++i) {
    Station& station = stations.emplace_back();
    station.name = steps.steps[i].name;
    station.directory = state.path_of(i);
  }
  return stations;
}

}  // namespace

int compress_command(const Arguments& arguments) {
  // 1. Flags, the recipe, what each step runs with.
  CompressFlags options;
  Flags flags = declare(options);
  if (!flags.parse(arguments)) return 0;
  check_flags(options);
  const compress::RecipeFile file = compress::read_recipe_file(options.recipe);
  Steps steps = plan_steps(file, flags);
  const SignalScope signals;

  // 2. The model and the data, which are read once, and what they say about the steps.
  Compression original{steps.whole, {}, false, false};
  // Nothing is written before everything is checked.
  original.train.dry_run = true;
  Setup setup = prepare_compression(original);
  if (setup.signal != 0) return 128 + setup.signal;
  steps.whole.data = original.train.data;
  compress::check_against(file, setup.model->config);
  check_against(steps, setup.data);

  // 3. What an earlier call has left.
  const fs::path output = steps.whole.output_dir;
  RecipeState state(output, identity_of(steps, setup.directory, setup.data), steps.whole.options.overwrite_output_dir);
  Output out;
  if (steps.whole.dry_run) {
    out.write(describe_steps(steps, file, setup.data, state.done()));
    out.flush();
    return 0;
  }
  check_output_directory(output, setup.directory);
  const DirectoryLock lock(output);
  state.remove_others();

  // 4. Step by step.
  setup.model.reset();
  if (const int code = run_steps(steps, state, setup.data, setup.directory); code != 0) return code;
  publish(state.path_of(steps.steps.size() - 1), output);

  // 5. What came out.
  const RecipeReport report = report_recipe(*setup.backend, stations_of(steps, state, setup.directory), setup.data,
                                            options.latency, steps.whole.options.per_device_eval_batch_size);
  if (report.signal != 0) return 128 + report.signal;
  write_text_file(output / "compress_results.json", recipe_json(report));
  if (!options.plot.empty()) {
    write_text_file(options.plot, recipe_picture(report, file.path.stem().string() + ", " + output.string()));
  }
  out.write(steps.whole.json ? recipe_json(report) : recipe_table(report));
  out.flush();
  return 0;
}

}  // namespace bertx::tools
