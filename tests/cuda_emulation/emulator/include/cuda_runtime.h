// Stands in for CUDA's header of this name where kernels and their callers are compiled for the host.
#pragma once

#include "../emulation.h"
#include "../intrinsics.h"
#include "../language.h"
#include "../tensor_cores.h"
#include "cuda_runtime_api.h"
