// The flags of `bertx bench`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/flags.h"
#include "common/run_options.h"

namespace bertx::tools {

struct BenchOptions {
  RunOptions run;
  std::string model, preset, mode = "forward", lengths, plot;
  std::vector<double> sparsity;
  std::vector<std::int64_t> batch{1}, tokens{128}, threads;
  std::int64_t reps = 15, warmup = 2;
  bool kernels = false, control = false, explain = false, json = false;
};

Flags bench_flags(BenchOptions& options);
/// Throws Error(usage) for flags that contradict each other, Error(io) where the plot could not be written.
void check_bench_options(const Flags& flags, const BenchOptions& options);

}  // namespace bertx::tools
