// bertx export: a model in another form. dense: a plain Hugging Face directory that anyone loads; native: zeros taken
// out where that is smaller.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "bertx/compress.h"
#include "bertx/error.h"
#include "bertx/files.h"
#include "commands.h"
#include "common/log.h"
#include "common/model_cost.h"
#include "common/output.h"
#include "common/run_options.h"
#include "common/text.h"

namespace bertx::tools {
namespace {

namespace fs = std::filesystem;

struct ExportFlags {
  RunOptions run;
  std::string model, output_dir, format = "dense";
  bool overwrite = false, json = false;
};

Flags declare(ExportFlags& options) {
  Flags flags("export", "a compressed model as a plain Hugging Face directory, or a plain one compressed");
  flags.group("Export")
      .text("model_name_or_path", &options.model, "DIR", "directory of a model, or a cached Hub name")
      .alias("model")
      .choice(
          "format", &options.format, {"dense", "native"},
          "dense: every matrix whole, which anything loads; native: bertx's form, zeros taken out where the file is "
          "smaller without them")
      .text("output_dir", &options.output_dir, "DIR", "model and tokenizer go there")
      .toggle("overwrite_output_dir", &options.overwrite, "replace the model that is there")
      .toggle("json", &options.json, "the report as one JSON object on standard output");
  add_run_flags(flags, options.run);
  flags
      .example("bertx export --model out/sst2-small --format dense --output_dir out/sst2-plain",
               "for transformers: cut heads and neurons as zeros, factors multiplied out, shared layers repeated")
      .example("bertx export --model someone/sparse-bert --format native --output_dir out/sparse",
               "zeros of a plain directory as CSR");
  return flags;
}

/// Refuses what would be lost: the model itself, and directories that are not empty.
void check_output(const ExportFlags& options, const fs::path& model) {
  std::error_code error;
  const fs::path output = options.output_dir;
  if (fs::exists(output, error) && !fs::is_empty(output, error) && !options.overwrite &&
      !fs::equivalent(output, model, error)) {
    fail(ErrorKind::usage, "--output_dir: found ", output.string(),
         ", which is not empty, expected a new or empty directory; --overwrite_output_dir replaces the model there");
  }
  check_output_directory(output, model);
}

/// What a plain directory holds as products and sums of other numbers: rounded once more.
std::vector<std::string> multiplied_out(Model& model, const compress::Report& report) {
  std::vector<std::string> kinds;
  model.visit([&](const std::string& path, Parameter&) {
    const bool factor = path.find("word_embeddings.") != std::string::npos && !path.ends_with(".weight");
    if (factor && kinds.empty()) kinds.emplace_back("word embeddings");
  });
  for (const auto& matrix : report.matrices) {
    const bool as_it_is = matrix.kind == "dense" || matrix.kind == "csr" || matrix.kind.ends_with("masked");
    if (!as_it_is && std::ranges::find(kinds, matrix.kind) == kinds.end()) kinds.push_back(matrix.kind);
  }
  return kinds;
}

/// The tokenizer, and how a sentence-transformers directory makes one vector of a text.
void write_companions(const fs::path& from, const fs::path& to) {
  std::error_code error;
  if (fs::exists(from / "vocab.txt", error) || fs::exists(from / "tokenizer.json", error)) {
    Tokenizer::load(from).save(to);
  } else {
    log(LogLevel::warning, from.string(), ": found no tokenizer, none is written");
  }
  for (const char* name :
       {"modules.json", "sentence_bert_config.json", "config_sentence_transformers.json", "1_Pooling", "2_Normalize"}) {
    if (!fs::exists(from / name, error)) continue;
    fs::copy(from / name, to / name, fs::copy_options::recursive, error);
    if (error) fail(ErrorKind::io, (to / name).string(), ": cannot be copied: ", error.message());
  }
}

struct ExportReport {
  std::vector<std::string> rounded;  ///< kinds of weight whose numbers are not those of the model
  bool narrow_heads = false;         ///< queries were scaled, too
  double logit_difference = 0;       ///< largest, between the model and what was written, over random token ids
  ModelCost before, after;
  bool lossless() const { return rounded.empty() && !narrow_heads; }
};

std::string why(const ExportReport& report) {
  if (report.lossless()) return "lossless: every weight is the very number it was";
  std::string kinds;
  for (const std::string& kind : report.rounded) kinds += (kinds.empty() ? "" : ", ") + kind;
  if (report.narrow_heads) kinds += std::string(kinds.empty() ? "" : ", ") + "narrow heads";
  return "not lossless: weights were multiplied out and rounded (" + kinds + ")";
}

std::string report_text(const ExportReport& report, const ExportFlags& options) {
  return text("written: ", options.output_dir, " (", options.format, ")\n", why(report), "\nlogits differ by at most ",
              number_text(static_cast<float>(report.logit_difference)),
              "\nweight files: ", bytes_text(static_cast<double>(report.before.bytes)), " before, ",
              bytes_text(static_cast<double>(report.after.bytes)), " after\n");
}

std::string report_json(const ExportReport& report, const ExportFlags& options) {
  const nlohmann::ordered_json json{{"output_dir", options.output_dir},
                                    {"format", options.format},
                                    {"lossless", report.lossless()},
                                    {"multiplied_out", report.rounded},
                                    {"logit_difference", report.logit_difference},
                                    {"bytes_before", report.before.bytes},
                                    {"bytes_after", report.after.bytes},
                                    {"multiplies_before", report.before.multiplies.total()},
                                    {"multiplies_after", report.after.multiplies.total()}};
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace

int export_command(const Arguments& arguments) {
  // 1. Flags.
  ExportFlags options;
  Flags flags = declare(options);
  if (!flags.parse(arguments)) return 0;
  require(options.model, "model_name_or_path", "a directory of a model, or a cached Hub name");
  require(options.output_dir, "output_dir", "a directory for the model in its new form");
  const bool dense = options.format == "dense";

  // 2. The model.
  const auto backend = start_backend(options.run);
  const fs::path directory = resolve_model_directory(options.model);
  Model model = load_model(*backend, directory);
  require_finite(*backend, model, directory.string());
  check_output(options, directory);
  constexpr std::int64_t kTokens = 128;
  ExportReport report;
  report.before = cost_of(*backend, model, directory, kTokens);

  // 3. The same in the form asked for.
  if (dense) {
    report.rounded = multiplied_out(model, report.before.model);
    report.narrow_heads = std::ranges::any_of(model.config.layers, [&](const LayerShape& shape) {
      return shape.heads > 0 && shape.head_dim != model.config.head_dim();
    });
  }
  Model written = load_model(*backend, directory);
  if (!dense) {
    compress::finalize_masks(*backend, written);
    compress::compact_zeros(*backend, written);
  }
  DirectoryWriter writer(options.output_dir);
  save_model(*backend, written, writer.path(), dense ? ExportForm::dense : ExportForm::native);
  write_companions(directory, writer.path());
  writer.commit();

  // 4. How far what was written is from the model.
  written = load_model(*backend, options.output_dir);
  report.after = cost_of(*backend, written, options.output_dir, kTokens);
  report.logit_difference = logit_difference(*backend, model, written);
  Output out;
  out.write(options.json ? report_json(report, options) : report_text(report, options));
  out.flush();
  return 0;
}

}  // namespace bertx::tools
