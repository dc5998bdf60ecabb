// What a benchmark says: a table for people, JSON for scripts, a drawing.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "bench/explain.h"
#include "bench/kernels.h"
#include "common/machine.h"

namespace bertx::tools {

/// What was measured, in words.
struct BenchSubject {
  std::string model;    ///< "bert-base", a directory
  std::string mode;     ///< "forward" | "train" | "kernels"
  std::string backend;  ///< name
  Machine machine;
};

std::string model_table(const BenchSubject& subject, const std::vector<BenchRow>& rows);
std::string kernel_table(const BenchSubject& subject, const std::vector<KernelRow>& rows);
std::string model_json(const BenchSubject& subject, const std::vector<BenchRow>& rows,
                       const std::vector<Explanation>& explanations = {});
std::string kernel_json(const BenchSubject& subject, const std::vector<KernelRow>& rows);
/// Milliseconds against sparsity: a line for each set of texts, dtype and number of threads.
std::string model_plot(const BenchSubject& subject, const std::vector<BenchRow>& rows);

}  // namespace bertx::tools
