#include "bench/options.h"

#include <limits>

#include "bench/lengths.h"
#include "bertx/error.h"

namespace bertx::tools {

Flags bench_flags(BenchOptions& options) {
  Flags flags("bench", "times a model, its training or its products, dense and sparse in turn, and checks the results");
  flags.positional("MODEL", &options.model, "directory of a model, or a cached Hub name; or --preset");
  flags.group("What is timed")
      .text("model_name_or_path", &options.model, "DIR", "the same as MODEL")
      .alias("model")
      .choice("preset", &options.preset, {"bert-base", "bert-large", "minilm-l6"}, "a shape with random weights")
      .choice("mode", &options.mode, {"forward", "train"},
              "forward: a pass from ids to logits, in ms; train: an update, that is forward, loss, backward, clipping "
              "and AdamW with the model's dropout, sparse matrices at fixed places")
      .toggle("kernels", &options.kernels,
              "single products instead of whole models: of each shape of matrix, or of a sparse MODEL's own matrices "
              "beside as many nonzeros at random places; GFLOP/s on nonzeros, share of the measured peak")
      .numbers("sparsity", &options.sparsity, Range::below(0, 1),
               "share of zeros in the encoder's matrices, by magnitude; without it a model as it is, and as dense, and "
               "--kernels of a shape with 0.8,0.9,0.95")
      .integers("batch", &options.batch, 1, 65536, "texts at a time")
      .integers("tokens", &options.tokens, 1, 1 << 20, "of each text; ids are random")
      .text("lengths", &options.lengths, "FILE|MEAN,MAX",
            "texts of different lengths: one length (in tokens) a line of FILE, or --batch texts of this mean and "
            "maximum; beside them the same texts padded to the longest")
      .toggle("control", &options.control,
              "time the same zeros in dense matrices, too (train: under a mask), and of a sparse MODEL as many "
              "nonzeros at random places");
  flags.group("How")
      .integers("threads", &options.threads, 1, 1024, "OpenMP threads; as OpenMP decides without it")
      .integer("reps", &options.reps, 1, 1 << 20, "timed runs of each row, the rows in turn")
      .integer("warmup", &options.warmup, 0, 1 << 20, "runs before, so that weights are warm: read not long ago")
      .toggle("explain", &options.explain,
              "why each product runs its kernel: the times of all candidates, as measured when the weights were "
              "prepared (BERTX_TUNE=off: by rule, without measuring)")
      .toggle("json", &options.json, "machine and rows as one JSON object on standard output")
      .text("plot", &options.plot, "FILE", "an SVG drawing of milliseconds against sparsity");
  flags.group("General")
      .integer("seed", &options.run.seed, 0, std::numeric_limits<std::int64_t>::max(), "of weights, ids and lengths")
      .choice("device", &options.run.device, {"cpu", "cuda", "reference"}, "backend")
      .choice("log_level", &options.run.log_level, {"error", "warning", "info", "debug"}, "of messages on stderr");
  add_dtype_flag(flags, options.run);
  flags
      .example("bertx bench --preset bert-base --sparsity 0,0.8,0.9,0.95 --threads 2 --plot latency.svg",
               "dense and three sparsities, milliseconds a pass of 1 x 128 tokens, and a drawing")
      .example("bertx bench out/sst2-90 --control", "a pruned model beside the same numbers in dense matrices")
      .example("bertx bench --preset bert-base --mode train --sparsity 0,0.9 --batch 8 --reps 5",
               "updates of 8 x 128 tokens, dense and at fixed places")
      .example("bertx bench --preset bert-base --sparsity 0,0.9 --batch 32 --lengths 76.8,128",
               "32 texts of 76.8 tokens on average, at most 128, beside the same padded")
      .example("bertx bench --preset bert-base --kernels --tokens 1,16,128,512 --threads 1,2",
               "rates of the products of all its shapes at 80, 90 and 95 % zeros");
  return flags;
}

void check_bench_options(const Flags& flags, const BenchOptions& options) {
  if (options.model.empty() == options.preset.empty()) {
    fail(ErrorKind::usage, "expected a model directory or --preset bert-base|bert-large|minilm-l6, and not both");
  }
  const auto contradict = [&](std::string_view a, std::string_view b, std::string_view why) {
    if (flags.given(a) && flags.given(b)) fail(ErrorKind::usage, "--", a, " and --", b, " contradict: ", why);
  };
  contradict("lengths", "tokens", "both say how long texts are");
  if (!options.lengths.empty() && !is_distribution(options.lengths)) {
    contradict("lengths", "batch", "every line of a file of lengths is a text");
  }
  if (options.kernels) {
    for (const char* other : {"mode", "lengths", "control", "explain", "plot"}) {
      contradict("kernels", other, "this flag is about whole models");
    }
  }
  if (options.explain && options.mode == "train") {
    fail(ErrorKind::usage, "--explain and --mode train contradict: training prepares no weights");
  }
  if (!options.plot.empty()) check_writable_file(options.plot, "plot");
}

}  // namespace bertx::tools
