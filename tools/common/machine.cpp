#include "common/machine.h"

#include <omp.h>

#include <fstream>
#include <memory>

#include "bertx/backend.h"
#include "bertx/error.h"
#include "bertx/sparse/isa.h"

namespace bertx::tools {
namespace {

std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (!line.starts_with("model name")) continue;
    const std::size_t colon = line.find(": ");
    if (colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

/// "2.6.3" out of "oneDNN 2.6.3, …", as the cpu backend describes itself.
std::string onednn_version(const std::string& description) {
  const std::size_t name = description.find("oneDNN ");
  if (name == std::string::npos) return {};
  const std::size_t first = description.find_first_of("0123456789", name);
  if (first == std::string::npos) return {};
  return description.substr(first, description.find_first_not_of("0123456789.", first) - first);
}

}  // namespace

Machine describe_machine() {
  return {processor_name(), omp_get_num_procs(), std::string(sparse::active_isa_name()),
          onednn_version(make_cpu_backend()->description()), omp_get_max_threads()};
}

std::string version_text() {
  const std::string detected(sparse::detected_isa_name()), active(sparse::active_isa_name());
  const std::string description = make_cpu_backend()->description();
  return text(
      "bertx ", BERTX_VERSION, "\nbuild: ", BERTX_BUILD_TYPE, ", ", BERTX_COMPILER, "\ninstruction sets: found ",
      detected, ", active ", active, "\noneDNN: ", onednn_version(description), "\nbackends: reference, cpu",
      std::string_view(BERTX_BACKENDS) == "cuda" ? ", cuda" : " (built without cuda)", "\ncpu backend: ", description);
}

}  // namespace bertx::tools
