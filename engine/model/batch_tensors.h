// A batch on its way to the backend.
#pragma once

#include "bertx/batch.h"
#include "bertx/exec.h"

namespace bertx {

/// `batch` must outlive the use of the result, see Exec::integers.
BatchTensors tensors_of(Exec& exec, const Batch& batch);

}  // namespace bertx
