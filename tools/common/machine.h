// What the command runs on: for --version and the head of a benchmark.
#pragma once

#include <string>

namespace bertx::tools {

struct Machine {
  std::string cpu;     ///< model name of the processor
  int cores = 0;       ///< that this process may use
  std::string isa;     ///< what kernels run with
  std::string onednn;  ///< version, "" where this build has none
  int threads = 0;     ///< OpenMP would use now
};

Machine describe_machine();
std::string version_text();  ///< several lines, no final line end

}  // namespace bertx::tools
