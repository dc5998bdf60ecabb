// bertx importance: which heads (and neurons) matter to the loss on which texts, and whether they are the same ones
// elsewhere (Michel et al. 2019, 1905.10650, ask it).
#include "common/importance.h"

#include <algorithm>
#include <string>

#include "bertx/error.h"
#include "bertx/files.h"
#include "bertx/signals.h"
#include "bertx/tokenizer.h"
#include "commands.h"
#include "common/classify.h"
#include "common/data.h"
#include "common/output.h"
#include "common/run_options.h"

namespace bertx::tools {
namespace {

struct ImportanceOptions {
  RunOptions run;
  DataOptions data;
  std::string model, data_name, split = "validation", per = "example", output, plot;
  std::optional<std::int64_t> model_seed;
  std::int64_t batch_size = 16;
  bool neurons = false, compare = false, json = false;
};

Flags declare(ImportanceOptions& options) {
  Flags flags("importance", "which heads and neurons matter to the loss, and whether other data and seeds agree");
  flags.group("Model")
      .text("model_name_or_path", &options.model, "DIR", "directory (or cached Hub name) of a classification model")
      .alias("model")
      .optional_integer("model_seed", &options.model_seed, 0, std::numeric_limits<std::int64_t>::max(),
                        "seed that the model was trained with: written down, for the groups of --compare");
  flags.group("Importance")
      .text("data_name", &options.data_name, "NAME",
            "of the texts in results and in the groups of --compare; else that of the task or file")
      .choice("per", &options.per, {"example", "token", "batch"},
              "of which the gates' gradients are made absolute before their mean is taken")
      .toggle("neurons", &options.neurons, "the feed-forward neurons, too: a summary of each layer")
      .choice("split", &options.split, {"validation", "train"}, "of the task; own texts are named by --validation_file")
      .integer("per_device_eval_batch_size", &options.batch_size, 1, 65536, "texts at a time")
      .alias("batch_size");
  flags.group("Results")
      .text("output", &options.output, "FILE", "the figures as JSON, for --compare")
      .text("plot", &options.plot, "FILE", "an SVG heat map of the heads; with --compare of all sets")
      .toggle("json", &options.json, "JSON on standard output instead of tables")
      .toggle("compare", &options.compare,
              "FILE FILE …: rank correlations (Spearman, Kendall) of the heads in these files, and their means over "
              "pairs of the same and of other data; --plot draws them side by side");
  add_data_flags(flags, options.data, Wanted::validation);
  add_run_flags(flags, options.run);
  flags
      .example(
          "bertx importance --model_name_or_path out/sst2 --task_name sst2 --data_dir glue --output sst2.json "
          "--plot sst2.svg",
          "a GLUE task: table, file and drawing")
      .example("bertx importance --model_name_or_path out/own --validation_file held-out.tsv --neurons", "own texts")
      .example("bertx importance --compare sst2-1.json sst2-2.json mrpc-1.json",
               "whether the same heads matter with another seed, and on another task");
  return flags;
}

/// The files after --compare, taken out of the arguments.
std::vector<std::string> take_files(Arguments& arguments) {
  std::vector<std::string> files;
  const auto flag = std::ranges::find(arguments, "--compare");
  if (flag == arguments.end()) return files;
  const auto begin = std::next(flag);
  const auto end = std::find_if(begin, arguments.end(), [](const std::string& a) { return a.starts_with("-"); });
  files.assign(begin, end);
  arguments.erase(begin, end);
  return files;
}

int compare(const Flags& flags, const ImportanceOptions& options, const std::vector<std::string>& files) {
  for (const auto& [given, value] : flags.given()) {
    if (given == "compare" || given == "json" || given == "plot" || given == "log_level") continue;
    fail(ErrorKind::usage, "--", given, ": found it beside --compare, which reads files only");
  }
  std::vector<ImportanceSet> sets;
  for (const std::string& file : files) {
    const std::vector<ImportanceSet> more = read_importance(file);
    sets.insert(sets.end(), more.begin(), more.end());
  }
  if (sets.size() < 2) {
    fail(ErrorKind::usage, "--compare: found ", sets.size(), " sets in ", files.size(),
         " files, expected two or more: files that bertx importance --output has written");
  }
  const std::string compared = compare_importance(sets, options.json);
  if (!options.plot.empty()) {
    check_writable_file(options.plot, "plot");
    write_text_file(options.plot, importance_svg(sets));
  }
  Output out;
  out.write(compared);
  out.flush();
  return 0;
}

/// The parts that were asked for, with a name each.
std::vector<std::pair<std::string, const DataPart*>> parts_of(const TaskData& data, const std::string& name,
                                                              bool train) {
  std::vector<std::pair<std::string, const DataPart*>> parts;
  if (train) return {{name, &*data.train}};
  for (const DataPart& part : data.validation) parts.emplace_back(name + part.suffix, &part);
  return parts;
}

ImportanceSet measure(Backend& backend, Model& model, const compress::Calibration& texts,
                      const ImportanceOptions& options, const std::string& data) {
  const compress::Per per = options.per == "token"   ? compress::Per::token
                            : options.per == "batch" ? compress::Per::batch
                                                     : compress::Per::example;
  ImportanceSet set{options.model, data, options.split, options.per, options.model_seed, 0, {}, {}};
  set.texts = static_cast<std::int64_t>(texts.examples.size());
  set.heads = compress::head_importance(backend, model, texts, options.batch_size, per);
  if (!options.neurons) return set;
  for (auto& layer : compress::neuron_importance(backend, model, texts, options.batch_size, per)) {
    set.neurons.push_back(summary_of(std::move(layer)));
  }
  return set;
}

}  // namespace

int importance_command(const Arguments& arguments) {
  // 1. Flags.
  ImportanceOptions options;
  Flags flags = declare(options);
  Arguments rest = arguments;
  const std::vector<std::string> files = take_files(rest);
  if (!flags.parse(rest)) return 0;
  if (options.compare) return compare(flags, options, files);
  require(options.model, "model_name_or_path", "a directory of a classification model, or a cached Hub name");
  const bool train = options.split == "train";
  if (train && options.data.task_name.empty()) {
    fail(ErrorKind::usage, "--split: found train without --task_name; own texts are named by --validation_file");
  }
  for (const auto& [file, flag] : {std::pair{&options.output, "output"}, {&options.plot, "plot"}}) {
    if (!file->empty()) check_writable_file(*file, flag);
  }
  const SignalScope signals;

  // 2. Model, tokenizer and data, with the model's own label names.
  const auto backend = start_backend(options.run);
  const auto directory = resolve_model_directory(options.model);
  Model model = load_classifier(*backend, directory);
  require_finite(*backend, model, directory.string());
  const Tokenizer tokenizer = Tokenizer::load(directory);
  fit_length(options.data, flags.given("max_seq_length"), model.config);
  options.data.max_train_samples = options.data.max_eval_samples;
  TaskData data =
      load_data(options.data, train ? Wanted::train_and_validation : Wanted::validation, false, &model.config, true);
  if (train) data.validation.clear();
  if (const int signal = encode_data(data, tokenizer, options.data); signal != 0) return 128 + signal;

  // 3. Importance on each part, and what is made of it.
  std::vector<ImportanceSet> sets;
  const std::string& called = options.data_name.empty() ? data.name : options.data_name;
  for (const auto& [name, part] : parts_of(data, called, train)) {
    sets.push_back(measure(*backend, model, {part->encoded, data.kind}, options, name));
    if (const int signal = pending_signal(); signal != 0) return 128 + signal;
  }
  if (!options.output.empty()) write_text_file(options.output, importance_json(sets));
  if (!options.plot.empty()) write_text_file(options.plot, importance_svg(sets));
  Output out;
  if (options.json) out.write(importance_json(sets));
  for (std::size_t i = 0; i < sets.size() && !options.json; ++i) {
    out.write((i == 0 ? "" : "\n") + importance_table(sets[i]));
  }
  out.flush();
  return 0;
}

}  // namespace bertx::tools
