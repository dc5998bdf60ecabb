// The cuda backend for tests: on a GPU in a build for CUDA, otherwise the same sources on the emulated device.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "bertx/backend.h"
#include "bertx/error.h"
#if BERTX_EMULATED_CUDA
#include "cuda_emulation/backend/emulated.h"
#endif

namespace bertx::test {

#if BERTX_EMULATED_CUDA
inline constexpr const char* kCudaSubject = "cuda-emulated";
#else
inline constexpr const char* kCudaSubject = "cuda";
#endif

inline std::unique_ptr<Backend> make_cuda(BackendOptions options = {}) {
#if BERTX_EMULATED_CUDA
  return make_emulated_cuda_backend(options);
#else
  return make_backend("cuda", options);
#endif
}

/// Why there is none; empty where there is one.
inline std::string why_no_cuda() {
#if BERTX_EMULATED_CUDA && defined(__SANITIZE_THREAD__)
  return "the thread sanitizer cannot follow the threads of the emulated device, which are fibers";
#else
  try {
    make_cuda();
    return {};
  } catch (const Error& error) {
    return error.what();
  }
#endif
}

/// Tests with the cuda backend, skipped with the reason where there is none. On the emulated device they end where host
/// code touches memory that a GPU would not let it touch.
class CudaTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_cuda(); !why.empty()) GTEST_SKIP() << why;
#if BERTX_EMULATED_CUDA
    guard_device_memory(true);
#endif
  }
#if BERTX_EMULATED_CUDA
  void TearDown() override { guard_device_memory(false); }
#endif
};

}  // namespace bertx::test
