// The GPU as this process uses it: one device, one stream, one pool of memory, one handle of cuBLASLt. All work goes
// into the one stream in the order of the calls, so memory that is given back may be given out again at once, and
// threads that share a backend need no lock around an operation. Only what a thread records (recording.cpp) goes into a
// stream of its own, in which nothing is done.
#pragma once

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <mutex>
#include <string>
#include <string_view>

#include "bertx/tensor.h"

namespace bertx::cuda {

/// Throws Error(numeric) with the driver's words: what was asked of it was right, so the device is in a state that no
/// caller can mend.
void check(cudaError_t error, std::string_view what);
void check(cublasStatus_t status, std::string_view what);

class Device {
 public:
  /// Of the process, made at the first call and never destroyed: buffers may live until the very end. Throws
  /// Error(usage) with the driver's words where no GPU can be used.
  static Device& get();

  cudaStream_t stream() const { return recording_ != nullptr ? recording_ : stream_; }
  /// What this thread calls goes into `stream` from now on; null: into that of all again.
  static void record_into(cudaStream_t stream) { recording_ = stream; }
  cublasLtHandle_t blas() const { return blas_; }
  /// Scratch of dense products, which the stream puts one behind the other.
  void* workspace() const { return workspace_; }
  std::size_t workspace_bytes() const { return workspace_bytes_; }

  /// Aligned to 256 bytes; given back to the pool when the last copy of the buffer goes. Throws Error(out_of_memory)
  /// with what was needed and what there is.
  Buffer allocate(std::size_t bytes);
  /// Host memory that may be used again when this returns -> device memory.
  void write(const void* host, void* device, std::size_t bytes);
  /// Waits for all that was put into the stream before.
  void read(const void* device, void* host, std::size_t bytes);
  void wait();

  /// Two pinned pieces through which conversions and copies of large tensors overlap; hold the lock while using them.
  struct Staging {
    static constexpr std::size_t kBytes = std::size_t{4} << 20;
    std::mutex lock;
    void* piece[2] = {};
    cudaEvent_t copied[2] = {};
  };
  /// Made at the first call.
  Staging& staging();

  /// "NVIDIA H200, sm_90, 132 multiprocessors, 139 GiB; driver 13.0, cuBLASLt 13.0.2"
  const std::string& description() const { return description_; }
  /// Has the tensor cores of Hopper, whose instructions no other compute capability has.
  bool warpgroups() const { return warpgroups_; }

 private:
  Device();
  void* take(std::size_t bytes);

  static inline thread_local cudaStream_t recording_ = nullptr;
  cudaStream_t stream_ = nullptr;
  cudaMemPool_t pool_ = nullptr;
  cublasLtHandle_t blas_ = nullptr;
  void* workspace_ = nullptr;
  std::size_t workspace_bytes_ = 0;
  std::string description_;
  bool warpgroups_ = false;
  Staging staging_;
  std::once_flag staging_made_;
};

}  // namespace bertx::cuda
