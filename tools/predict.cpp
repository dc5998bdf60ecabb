// bertx predict: texts in, one JSON line a text out: label, score, logits, number of tokens.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "bertx/error.h"
#include "bertx/files.h"
#include "bertx/model.h"
#include "bertx/tokenizer.h"
#include "commands.h"
#include "common/classify.h"
#include "common/json_line.h"
#include "common/log.h"
#include "common/output.h"
#include "common/run_options.h"
#include "common/text_lines.h"

namespace bertx::tools {
namespace {

struct PredictOptions {
  RunOptions run;
  std::string model, input = "-";
  std::int64_t max_seq_length = 0, batch_size = 32;
  bool json = false;
};

Flags declare(PredictOptions& options) {
  Flags flags("predict", "label texts: one text, or two with a tab between, a line in; one JSON line out");
  flags.group("Prediction")
      .text("model_name_or_path", &options.model, "DIR", "directory (or cached Hub name) of a classification model")
      .alias("model")
      .text("input", &options.input, "FILE", "texts, one a line; -: standard input")
      .integer("max_seq_length", &options.max_seq_length, 0, 1 << 20, "tokens; 0: as many as the model takes")
      .integer("batch_size", &options.batch_size, 1, 4096, "most texts at a time; answers do not depend on it")
      .alias("per_device_eval_batch_size")
      .toggle("json", &options.json, "JSON lines, as without it");
  add_run_flags(flags, options.run);
  add_dtype_flag(flags, options.run);
  flags.example("echo 'A fine film.' | bertx predict --model_name_or_path out/sst2", "one text from standard input")
      .example("bertx predict --model_name_or_path out/sst2 --input reviews.txt > labels.jsonl", "a file");
  return flags;
}

std::int64_t length_limit(const PredictOptions& options, const Config& config, const Tokenizer& tokenizer) {
  if (options.max_seq_length > config.positions || (options.max_seq_length > 0 && options.max_seq_length < 3)) {
    fail(ErrorKind::usage, "--max_seq_length: found ", options.max_seq_length, "; expected 3 to ", config.positions,
         ", the positions of the model");
  }
  if (options.max_seq_length > 0) return options.max_seq_length;
  const std::int64_t stated = tokenizer.model_max_length();
  return stated >= 3 ? std::min<std::int64_t>(stated, config.positions) : config.positions;
}

/// {"label": …, "score": …, "logits": […], "tokens": n}
std::string json_of(const Config& config, std::span<const float> logits, std::int64_t tokens) {
  const Verdict verdict = judge(config, logits);
  JsonLine line;
  if (config.problem == ProblemKind::multi_label) {
    std::string names, scores;
    for (std::size_t i = 0; i < verdict.labels.size(); ++i) {
      names += (i == 0 ? "" : ", ") + json_text(config.labels[verdict.labels[i]]);
      scores += (i == 0 ? "" : ", ") + number_text(verdict.scores[i]);
    }
    line.raw("label", "[" + names + "]").raw("score", "[" + scores + "]");
  } else {
    line.text("label", config.labels[verdict.labels[0]]).number("score", verdict.scores[0]);
  }
  return line.numbers("logits", logits).integer("tokens", tokens).str();
}

}  // namespace

int predict_command(const Arguments& arguments) {
  // 1. Flags.
  PredictOptions options;
  Flags flags = declare(options);
  if (!flags.parse(arguments)) return 0;
  require(options.model, "model_name_or_path", "a directory of a classification model, or a cached Hub name");

  // 2. Backend, tokenizer, model (its weights stay in the mapped file).
  const auto backend = start_backend(options.run);
  const auto directory = resolve_model_directory(options.model);
  const Tokenizer tokenizer = Tokenizer::load(directory);
  Model model = load_classifier(*backend, directory);
  const std::int64_t max_length = length_limit(options, model.config, tokenizer);

  // 3. Texts, as many at a time as are there, so that a person who types gets answers.
  LineReader reader(options.input);
  Output out;
  Classifier classifier(*backend, model);
  TextLines lines;
  while (lines.read(reader, static_cast<std::size_t>(options.batch_size), Pairs::allowed)) {
    const auto encodings = tokenizer.encode_batch(lines.views(), static_cast<int>(max_length), 1);
    const std::vector<float> logits =  // [texts, labels]
        blame_weights(*backend, model, directory, [&] { return classifier.logits(encodings); });
    const std::size_t labels = logits.size() / encodings.size();
    for (std::size_t i = 0; i < encodings.size(); ++i) {
      out.line(json_of(model.config, std::span(logits).subspan(i * labels, labels),
                       static_cast<std::int64_t>(encodings[i].ids.size())));
    }
    out.flush();
  }
  for (const std::string& warning : tokenizer.warnings()) log(LogLevel::warning, warning);
  return 0;
}

}  // namespace bertx::tools
