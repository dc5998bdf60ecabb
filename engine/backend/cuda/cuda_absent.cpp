// Stands in for the CUDA backend in a build without it, so that no other file asks which build this is.
#include "bertx/backend.h"
#include "bertx/error.h"

namespace bertx {

std::unique_ptr<Backend> make_cuda_backend(BackendOptions) {
  fail(ErrorKind::usage,
       "this bertx was built without CUDA; configure with -DBERTX_BACKEND=cuda to have the backend \"cuda\"");
}

}  // namespace bertx
