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

/// How a backend describes itself, or why it cannot be had.
std::string description_of(std::string_view backend) {
  try {
    return make_backend(backend)->description();
  } catch (const Error& error) {
    return error.what();
  }
}

}  // namespace

Machine describe_machine() {
  return {processor_name(), omp_get_num_procs(), std::string(sparse::active_isa_name()),
          onednn_version(description_of("cpu")), omp_get_max_threads()};
}

std::string version_text() {
  const std::string detected(sparse::detected_isa_name()), active(sparse::active_isa_name());
  const std::string description = description_of("cpu");
  const bool cuda = std::string_view(BERTX_BACKENDS) == "cuda";
  return text("bertx ", BERTX_VERSION, "\nbuild: ", BERTX_BUILD_TYPE, ", ", BERTX_COMPILER,
              "\ninstruction sets: found ", detected, ", active ", active, "\noneDNN: ", onednn_version(description),
              "\nbackends: reference, cpu", cuda ? ", cuda" : " (built without cuda)", "\ncpu backend: ", description,
              cuda ? "\ncuda backend: " + description_of("cuda") : std::string());
}

}  // namespace bertx::tools
