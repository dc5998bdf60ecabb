#include "common/compression.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "bertx/compress.h"
#include "bertx/error.h"
#include "bertx/files.h"
#include "bertx/signals.h"
#include "common/classify.h"
#include "common/evaluation.h"
#include "common/output.h"
#include "common/plan.h"
#include "common/progress.h"
#include "common/prune_report.h"
#include "common/text.h"
#include "common/training.h"

namespace bertx::tools {
namespace {

struct CompressionFlags {
  TrainFlags train;
  compress::Recipe recipe;
  std::string export_form = "native";
  bool one_shot = false;
};

std::vector<const compress::Method*> methods_of(const CompressionCommand& command) {
  std::vector<const compress::Method*> found;
  for (const compress::Method& method : compress::methods()) {
    if (std::ranges::find(command.families, method.family) != command.families.end()) found.push_back(&method);
  }
  return found;
}

/// The option as a flag, its help with the methods that read it.
void declare_option(Flags& flags, const compress::Option& option, const std::string& readers,
                    compress::Recipe& recipe) {
  using compress::Recipe;
  const std::string name(option.name), help = std::string(option.help) + " (" + readers + ")";
  const Range range{option.least, option.most, option.open_least, option.open_most};
  const auto whole = [](double x) { return static_cast<std::int64_t>(x); };
  const auto declare = [&](auto field) {
    auto* target = &(recipe.*field);
    using T = std::remove_reference_t<decltype(*target)>;
    if constexpr (std::is_same_v<T, double>) {
      flags.number(name, target, range, help);
    } else if constexpr (std::is_same_v<T, std::int64_t>) {
      flags.integer(name, target, whole(option.least), whole(option.most), help);
    } else if constexpr (std::is_same_v<T, bool>) {
      flags.toggle(name, target, help);
    } else if constexpr (std::is_same_v<T, std::optional<double>>) {
      flags.optional_number(name, target, range, help);
    } else if constexpr (std::is_same_v<T, std::optional<std::int64_t>>) {
      flags.optional_integer(name, target, whole(option.least), whole(option.most), help);
    } else if (option.choices.empty()) {
      flags.text(name, target, "TEXT", help);
    } else {
      std::vector<std::string> choices;
      for (const std::string_view choice : compress::words(option.choices)) choices.emplace_back(choice);
      flags.choice(name, target, choices, help);
    }
  };
  std::visit(declare, option.field);
}

void declare(Flags& flags, const CompressionCommand& command, CompressionFlags& values) {
  const std::vector<const compress::Method*> methods = methods_of(command);
  std::vector<std::string> names;
  std::string list;
  for (const compress::Method* method : methods) {
    names.emplace_back(method->name);
    list += (list.empty() ? "" : "; ") + std::string(method->name) + ": " + std::string(method->summary);
  }
  values.recipe.method = names.front();
  flags.group(std::string(command.title))
      .choice("method", &values.recipe.method, names, list)
      .choice("export", &values.export_form, {"native", "dense"},
              "native: bertx's compressed form; dense: a plain directory with exact zeros")
      .toggle("one_shot", &values.one_shot, "act at once, although training data is given");
  for (const compress::Option& option : compress::options()) {
    std::string readers;
    for (const compress::Method* method : methods) {
      if (method->takes(option.name)) readers += (readers.empty() ? "" : ", ") + std::string(method->name);
    }
    if (!readers.empty()) declare_option(flags, option, readers, values.recipe);
  }
  add_training_flags(flags, values.train);
  for (const auto& [line, comment] : command.examples) flags.example(std::string(line), std::string(comment));
}

void finish_flags(const Flags& flags, CompressionFlags& values) {
  compress::Recipe& recipe = values.recipe;
  const compress::Method& method = compress::find_method(recipe.method);
  for (const std::string& given : flags.given()) {
    if (compress::find_option(given) == nullptr || method.takes(given)) continue;
    std::string taken(method.options);
    for (std::size_t at = 0; (at = taken.find(' ', at)) != std::string::npos; at += 3) taken.replace(at, 1, ", --");
    fail(ErrorKind::usage, "--", given, ": method ", method.name, " does not read it; it reads --", taken);
  }
  recipe.seed = static_cast<std::uint64_t>(values.train.run.seed);
  recipe.learning_rate = values.train.options.learning_rate;
  recipe.sparsity_is_stated = flags.given("sparsity");
  values.train.options.final_form = values.export_form == "dense" ? ExportForm::dense : ExportForm::native;
  compress::check(recipe);
  finish_training_flags(flags, values.train);
}

/// Whether the recipe runs in a training, as its method and the given data ask.
bool decide_training(const CompressionFlags& values, const compress::Method& method) {
  const bool data = !values.train.data.task_name.empty() || !values.train.data.train_file.empty();
  if (!data && (method.needs_data || method.training == compress::Training::always)) {
    fail(ErrorKind::usage, "--method ", method.name,
         " needs labelled texts; expected --train_file, or --task_name with --data_dir");
  }
  if (values.one_shot && method.training == compress::Training::always) {
    fail(ErrorKind::usage, "--one_shot: --method ", method.name, " works by training only");
  }
  return data && !values.one_shot && method.training != compress::Training::never;
}

/// Model and tokenizer without training data; validation data where it is given.
Setup prepare_one_shot(CompressionFlags& values) {
  TrainFlags& train = values.train;
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

/// Compresses without training and writes the directory.
int compress_at_once(Setup& setup, const CompressionFlags& values, Figures* figures) {
  compress::Calibration calibration;
  if (setup.data.train) calibration = {setup.data.train->encoded, setup.data.kind};
  compress::compress_now(*setup.backend, *setup.model, values.recipe, calibration);
  DirectoryWriter writer(values.train.output_dir);
  save_model(*setup.backend, *setup.model, writer.path(), values.train.options.final_form);
  setup.tokenizer->save(writer.path());
  writer.commit();
  ConsoleProgress progress;
  const int signal = evaluate_and_write(setup, values.train, &progress, figures);
  return signal == 0 ? 0 : 128 + signal;
}

}  // namespace

int compression_command(const CompressionCommand& command, const Arguments& arguments) {
  // 1. Flags.
  CompressionFlags values;
  Flags flags{std::string(command.name), std::string(command.summary)};
  declare(flags, command, values);
  if (!flags.parse(arguments)) return 0;
  finish_flags(flags, values);
  const compress::Method& method = compress::find_method(values.recipe.method);
  const bool trains = decide_training(values, method);
  const SignalScope signals;

  // 2. Model, tokenizer, data.
  TrainFlags& train = values.train;
  const bool with_data = trains || !train.data.train_file.empty() || !train.data.task_name.empty();
  Setup setup = with_data ? prepare_training(train) : prepare_one_shot(values);
  if (setup.signal != 0) return 128 + setup.signal;
  Output out;
  std::unique_ptr<TrainHook> hook;
  if (trains) {
    hook = compress::make_compressor(values.recipe, {setup.data.train->encoded, setup.data.kind});
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
    if (const int code = compress_at_once(setup, values, &figures); code != 0) return code;
  }

  // 4. What came out: zeros, bytes, and how far the written model is from the one in memory.
  const PruneReport report = report_pruning(*setup.backend, *setup.model, setup.directory, train.output_dir);
  write_prune_results(report, train.output_dir);
  out.write(train.json ? prune_json(report, figures) + "\n" : prune_table(report, figures));
  out.flush();
  return 0;
}

}  // namespace bertx::tools
