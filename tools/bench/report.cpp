#include "bench/report.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <tuple>

#include "bench/plot.h"
#include "bertx/error.h"
#include "common/table.h"
#include "common/text.h"

namespace bertx::tools {
namespace {

using Json = nlohmann::ordered_json;

bool same_setting(const BenchRow& a, const BenchRow& b) {
  return a.threads == b.threads && a.dtype == b.dtype && a.kernel == b.kernel && a.sparsity == b.sparsity;
}

/// The fastest run of the dense row that `row` is compared with; 0 where there is none.
double dense_time(const std::vector<BenchRow>& rows, const BenchRow& row) {
  double first = 0;
  for (const BenchRow& other : rows) {
    const bool same = other.texts.lengths == row.texts.lengths && other.texts.kind == row.texts.kind;
    if (!same || other.threads != row.threads || !other.dense) continue;
    if (first == 0 || other.dtype == "f32") first = other.min_ms;  // all dtypes refer to float32, where it was timed
  }
  return first;
}

/// How many times longer the same texts take when they are padded; 0 where that was not timed.
double padded_ratio(const std::vector<BenchRow>& rows, const BenchRow& row) {
  if (row.texts.kind != "ragged") return 0;
  for (const BenchRow& other : rows) {
    const bool same = other.texts.kind == "padded" && other.texts.count() == row.texts.count() &&
                      other.texts.longest() == row.texts.longest();
    if (same && same_setting(other, row)) return other.min_ms / row.min_ms;
  }
  return 0;
}

std::string ratio_text(double ratio) { return ratio > 0 ? fixed(ratio, 2) : "-"; }

/// Digits that tell a per cent apart, whatever the size.
std::string time_text(double time) { return fixed(time, time < 10 ? 3 : time < 100 ? 2 : 1); }

std::string head_line(const BenchSubject& subject) {
  const Machine& m = subject.machine;
  return text(m.cpu, ", ", m.cores, " cores, ", m.isa, ", oneDNN ", m.onednn, ", ", subject.backend, " backend\n");
}

Json json_head(const BenchSubject& subject) {
  const Machine& m = subject.machine;
  Json out;
  out["machine"] =
      Json{{"cpu", m.cpu}, {"cores", m.cores}, {"isa", m.isa}, {"onednn", m.onednn}, {"threads", m.threads}};
  out["model"] = subject.model;
  out["mode"] = subject.mode;
  out["backend"] = subject.backend;
  out["rows"] = Json::array();
  return out;
}

}  // namespace

// ---- models ---------------------------------------------------------------------------------------------------------

std::string model_table(const BenchSubject& subject, const std::vector<BenchRow>& rows) {
  const bool train = subject.mode == "train";
  const bool ragged = std::ranges::any_of(rows, [](const BenchRow& row) { return row.texts.kind != "equal"; });
  const bool dtypes = std::ranges::any_of(rows, [&](const BenchRow& row) { return row.dtype != rows.front().dtype; });
  std::vector<std::string> header{"kernel", "zeros", ragged ? "texts" : "batch"};
  if (!ragged) header.push_back("tokens");
  if (dtypes) header.push_back("dtype");
  for (const char* name : {"threads", "min ms", "median ms", "ms a text", "speed-up"}) header.emplace_back(name);
  if (ragged) header.push_back("vs padded");
  if (train) header.insert(header.end(), {"AdamW", "arena"});

  Table table(header);
  for (const BenchRow& row : rows) {
    std::vector<std::string> cells{row.kernel, percent_text(row.sparsity)};
    if (ragged) {
      cells.push_back(row.texts.description());
    } else {
      cells.push_back(std::to_string(row.texts.count()));
      cells.push_back(std::to_string(row.texts.longest()));
    }
    if (dtypes) cells.push_back(row.dtype);
    const double dense = dense_time(rows, row);
    for (const std::string& cell :
         {std::to_string(row.threads), time_text(row.min_ms), time_text(row.median_ms),
          time_text(row.min_ms / static_cast<double>(row.texts.count())), ratio_text(dense / row.min_ms)}) {
      cells.push_back(cell);
    }
    if (ragged) cells.push_back(ratio_text(padded_ratio(rows, row)));
    if (train) {
      cells.push_back(percent_text(row.optimizer_ms / row.min_ms));
      cells.push_back(bytes_text(static_cast<double>(row.arena)));
    }
    table.row(cells);
  }
  const std::string what = train ? "an update: forward, loss, backward, clipping, AdamW" : "a pass from ids to logits";
  return head_line(subject) +
         text(subject.model, ", ", rows.front().dtype, ": ", what, ";\nrows in turn, ", rows.front().reps,
              " times, after untimed runs (weights warm)\n") +
         table.text();
}

std::string model_json(const BenchSubject& subject, const std::vector<BenchRow>& rows,
                       const std::vector<Explanation>& explanations) {
  Json out = json_head(subject);
  for (const BenchRow& row : rows) {
    Json& item = out["rows"].emplace_back(Json{{"sparsity", row.sparsity}, {"batch", row.texts.count()}});
    if (row.texts.kind == "ragged") {
      item["tokens"] = row.texts.mean();
    } else {
      item["tokens"] = row.texts.longest();
    }
    item["lengths"] = row.texts.kind;
    item["longest"] = row.texts.longest();
    item["total_tokens"] = row.texts.tokens();
    item["threads"] = row.threads;
    item["dtype"] = row.dtype;
    item["kernel"] = row.kernel;
    item["dense"] = row.dense;
    item["min_ms"] = row.min_ms;
    item["median_ms"] = row.median_ms;
    item["reps"] = row.reps;
    item["max_difference"] = row.max_difference;
    const double dense = dense_time(rows, row), ratio = padded_ratio(rows, row);
    item["speed_up"] = dense > 0 ? Json(dense / row.min_ms) : Json();
    if (ratio > 0) item["padded_ratio"] = ratio;
    if (subject.mode != "train") continue;
    item["optimizer_ms"] = row.optimizer_ms;
    item["arena_bytes"] = row.arena;
  }
  if (!explanations.empty()) out["explain"] = explanation_json(explanations);
  return out.dump(2);
}

std::string model_plot(const BenchSubject& subject, const std::vector<BenchRow>& rows) {
  const auto differ = [&](const auto& part) {
    return std::ranges::any_of(rows, [&](const BenchRow& row) { return part(row) != part(rows.front()); });
  };
  const bool dtypes = differ([](const BenchRow& row) { return row.dtype; });
  const bool threads = differ([](const BenchRow& row) { return row.threads; });
  Plot plot;
  plot.title = subject.model + (subject.mode == "train" ? ": an update" : ": a forward pass");
  plot.subtitle = subject.machine.cpu + ", " + subject.machine.isa;
  if (!dtypes) plot.subtitle += ", " + rows.front().dtype;
  if (!threads) plot.subtitle += text(", ", rows.front().threads, rows.front().threads == 1 ? " thread" : " threads");
  plot.subtitle += text(", fastest of ", rows.front().reps);
  plot.x_label = "zeros in the encoder's matrices, %";
  plot.y_label = subject.mode == "train" ? "ms an update" : "ms a pass";
  for (const BenchRow& row : rows) {
    // Controls are lines of their own: they show what zeros in dense matrices are worth.
    const std::size_t open = row.kernel.find(" (");
    std::string name = row.texts.description() + " tokens" + (dtypes ? ", " + row.dtype : "");
    if (threads) name += text(", ", row.threads, row.threads == 1 ? " thread" : " threads");
    if (open != std::string::npos) name += row.kernel.substr(open);
    auto line = std::ranges::find(plot.lines, name, &Plot::Line::name);
    if (line == plot.lines.end()) line = plot.lines.insert(line, Plot::Line{name, {}});
    // A pruned model's dense twin has no zeros to it: the multiplies it makes are those of a dense model.
    line->points.emplace_back(row.dense ? 0 : 100 * row.sparsity, row.min_ms);
  }
  for (Plot::Line& line : plot.lines) std::ranges::sort(line.points);
  return svg_of(plot);
}

// ---- kernels --------------------------------------------------------------------------------------------------------

std::string kernel_table(const BenchSubject& subject, const std::vector<KernelRow>& rows) {
  const bool stored = std::ranges::any_of(rows, [](const KernelRow& row) { return row.random_us > 0; });
  std::string out = head_line(subject) +
                    text(subject.model, ": products of the encoder's matrices; fastest of ", rows.front().reps,
                         " runs in turn,\nrepeated on the same numbers, so in cache where they fit. GFLOP/s count "
                         "nonzeros; speed-up\nrefers to the dense product in the same run; results were checked "
                         "against sums in double.\n");
  std::map<std::tuple<std::int64_t, std::string>, std::vector<KernelRow>> groups;
  for (const KernelRow& row : rows) groups[{row.threads, row.dtype}].push_back(row);
  for (const auto& [key, group] : groups) {
    const double peak = group.front().peak_gflops;
    out += text("\n", group.front().threads, group.front().threads == 1 ? " thread" : " threads", ", ",
                group.front().dtype, ", measured peak ", fixed(peak, 1), " GFLOP/s\n");
    std::vector<std::string> header{"product", "matrix",  "zeros",   "tokens",  "kernel",
                                    "us",      "GFLOP/s", "of peak", "speed-up"};
    if (stored) header.push_back("vs random");
    Table table(header);
    for (const KernelRow& row : group) {
      std::vector<std::string> cells{row.product,
                                     row.matrix,
                                     percent_text(row.sparsity),
                                     std::to_string(row.tokens),
                                     row.kernel,
                                     fixed(row.min_us, 1),
                                     fixed(row.gflops, 1),
                                     peak > 0 ? percent_text(row.gflops / peak) : "-",
                                     ratio_text(row.dense_us / row.min_us)};
      if (stored) cells.push_back(ratio_text(row.random_us / row.min_us));
      table.row(cells);
    }
    out += table.text();
  }
  return out;
}

std::string kernel_json(const BenchSubject& subject, const std::vector<KernelRow>& rows) {
  Json out = json_head(subject);
  for (const KernelRow& row : rows) {
    Json& item = out["rows"].emplace_back(Json{{"product", row.product},
                                               {"matrix", row.matrix},
                                               {"rows", row.rows},
                                               {"cols", row.cols},
                                               {"nonzeros", row.nonzeros},
                                               {"sparsity", row.sparsity},
                                               {"tokens", row.tokens},
                                               {"threads", row.threads},
                                               {"dtype", row.dtype},
                                               {"kernel", row.kernel},
                                               {"min_us", row.min_us},
                                               {"median_us", row.median_us},
                                               {"reps", row.reps},
                                               {"gflops", row.gflops},
                                               {"peak_gflops", row.peak_gflops},
                                               {"dense_us", row.dense_us},
                                               {"speed_up", row.dense_us / row.min_us},
                                               {"error_of_tolerance", row.error}});
    item["of_peak"] = row.peak_gflops > 0 ? Json(row.gflops / row.peak_gflops) : Json();
    if (row.random_us > 0) item["random_us"] = row.random_us;
  }
  return out.dump(2);
}

}  // namespace bertx::tools
