#include "common/evaluation.h"

#include <cmath>

#include "bertx/files.h"
#include "common/classify.h"
#include "common/log.h"
#include "common/table.h"
#include "common/text.h"

namespace bertx::tools {

Evaluated evaluate_parts(Backend& backend, const Model& model, const TaskData& data, std::int64_t batch_size,
                         ProgressObserver* observer) {
  Evaluated out;
  for (const DataPart& part : data.validation) {
    EvalOptions options;
    options.kind = data.kind;
    options.metrics = data.metrics;
    options.positive = data.positive;
    options.batch_size = batch_size;
    const EvalResult result = evaluate(backend, model, part.encoded, options, observer);
    if (result.signal != 0) return {{}, result.signal};
    for (const std::string& warning : result.metrics.warnings) log(LogLevel::warning, warning);
    const Figures figures = result.figures("eval", part.suffix);
    out.figures.insert(out.figures.end(), figures.begin(), figures.end());
  }
  return out;
}

int write_predictions(Backend& backend, const Model& model, const TaskData& data, std::int64_t batch_size,
                      const std::filesystem::path& directory, ProgressObserver* observer) {
  for (const DataPart& part : data.test) {
    EvalOptions options;
    options.kind = LabelKind::none;
    options.batch_size = batch_size;
    const EvalResult result = evaluate(backend, model, part.encoded, options, observer);
    if (result.signal != 0) return result.signal;
    const auto outputs = static_cast<std::size_t>(result.predictions.outputs);
    std::string lines = "index\tprediction\n";
    for (std::int64_t i = 0; i < result.predictions.examples(); ++i) {
      const auto logits = std::span(result.predictions.logits).subspan(static_cast<std::size_t>(i) * outputs, outputs);
      const Verdict verdict = judge(model.config, logits);
      std::string shown;
      if (data.kind == LabelKind::regression) {
        shown = fixed(logits[0], 3);
      } else {
        for (const std::size_t label : verdict.labels) shown += (shown.empty() ? "" : "|") + model.config.labels[label];
      }
      lines += std::to_string(i) + "\t" + shown + "\n";
    }
    write_text_file(directory / ("predict_results_" + data.name + part.suffix + ".txt"), lines);
  }
  return 0;
}

std::string figures_table(const Figures& figures) {
  Table table({"figure", "value"});
  for (const auto& [name, value] : figures) {
    const bool whole = std::isfinite(value) && value == std::floor(value) && std::fabs(value) < 1e15;
    table.row({name, !std::isfinite(value) ? "-" : fixed(value, whole ? 0 : 4)});
  }
  return table.text();
}

}  // namespace bertx::tools
