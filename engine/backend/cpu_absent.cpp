// Stands in for the CPU backend in a build for CUDA where oneDNN was not found.
#include "bertx/backend.h"
#include "bertx/error.h"

namespace bertx {

std::unique_ptr<Backend> make_cpu_backend(BackendOptions) {
  fail(ErrorKind::usage,
       "this bertx was built without oneDNN, which the backend \"cpu\" needs: install libdnnl-dev and configure again, "
       "or "
       "use --device cuda");
}

}  // namespace bertx
