#include "backend/cuda/device.h"

#include <algorithm>
#include <limits>

#include "backend/cuda/launched.h"
#include "bertx/error.h"

namespace bertx::cuda {
namespace {

constexpr int kLeastMajor = 8;  // compute capability: the kernels use bf16 products and asynchronous copies

std::string_view words(cudaError_t error) { return cudaGetErrorString(error); }

[[noreturn]] void refuse(const std::string& why) {
  fail(ErrorKind::usage, "backend \"cuda\": no GPU can be used: ", why, "; --device cpu works without one");
}

std::string version(int number, int major, int minor) { return text(number / major, ".", number % major / minor); }

}  // namespace

void check(cudaError_t error, std::string_view what) {
  if (error != cudaSuccess) fail(ErrorKind::numeric, "backend \"cuda\": ", what, ": ", words(error));
}
void check(cublasStatus_t status, std::string_view what) {
  if (status != CUBLAS_STATUS_SUCCESS) {
    fail(ErrorKind::numeric, "backend \"cuda\": ", what, ": ", cublasLtGetStatusString(status));
  }
}
void launched(cudaError_t error) { check(error, "launch of a kernel"); }

Device& Device::get() {
  static std::mutex lock;
  static Device* device = nullptr;
  const std::lock_guard guard(lock);
  if (device == nullptr) device = new Device;
  return *device;
}

Device::Device() {
  int count = 0;
  if (const cudaError_t error = cudaGetDeviceCount(&count); error != cudaSuccess) refuse(std::string(words(error)));
  if (count == 0) refuse("the driver lists none");
  cudaDeviceProp device{};
  if (const cudaError_t error = cudaGetDeviceProperties(&device, 0); error != cudaSuccess) {
    refuse(std::string(words(error)));
  }
  if (device.major < kLeastMajor) {
    refuse(text("found ", device.name, " of compute capability ", device.major, ".", device.minor, ", expected ",
                kLeastMajor, ".0 or more"));
  }
  const auto need = [](cudaError_t error) {
    if (error != cudaSuccess) refuse(std::string(words(error)));
  };
  need(cudaSetDevice(0));
  need(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
  need(cudaDeviceGetDefaultMemPool(&pool_, 0));
  std::uint64_t keep_all = std::numeric_limits<std::uint64_t>::max();
  need(cudaMemPoolSetAttribute(pool_, cudaMemPoolAttrReleaseThreshold, &keep_all));
  if (const cublasStatus_t status = cublasLtCreate(&blas_); status != CUBLAS_STATUS_SUCCESS) {
    refuse(text("cuBLASLt: ", cublasLtGetStatusString(status)));
  }
  // cuBLAS itself takes 4 MiB, on Hopper 32; small devices have better uses for them.
  workspace_bytes_ = std::min<std::size_t>(device.totalGlobalMem >> 12, std::size_t{32} << 20);
  workspace_ = take(workspace_bytes_);
  warpgroups_ = device.major == 9 && device.minor == 0;
  int driver = 0;
  need(cudaDriverGetVersion(&driver));
  description_ = text(device.name, ", sm_", device.major, device.minor, ", ", device.multiProcessorCount,
                      " multiprocessors, ", device.totalGlobalMem >> 30, " GiB; driver ", version(driver, 1000, 10),
                      ", cuBLASLt ", version(static_cast<int>(cublasLtGetVersion()), 10000, 100));
}

void* Device::take(std::size_t bytes) {
  void* data = nullptr;
  cudaError_t error = cudaMallocAsync(&data, bytes, stream());
  if (error != cudaSuccess && recording_ == nullptr) {
    // The pool may hold pieces of other sizes; what nobody uses goes back to the device first.
    cudaGetLastError();
    cudaStreamSynchronize(stream_);
    cudaMemPoolTrimTo(pool_, 0);
    error = cudaMallocAsync(&data, bytes, stream());
  }
  if (error == cudaSuccess) return data;
  cudaGetLastError();
  std::size_t free = 0, total = 0;
  cudaMemGetInfo(&free, &total);
  fail(ErrorKind::out_of_memory, "out of memory on the GPU: ", bytes, " bytes were needed, ", free, " of ", total,
       " are free (", words(error), ")");
}

Buffer Device::allocate(std::size_t bytes) {
  void* const data = take(std::max<std::size_t>(bytes, 64));
  return {std::shared_ptr<void>(data, [stream = stream()](void* p) { cudaFreeAsync(p, stream); }), bytes};
}

// Memory that is not pinned has been read when the call returns.
void Device::write(const void* host, void* device, std::size_t bytes) {
  if (bytes == 0) return;
  check(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream()), "copy to the device");
}

void Device::read(const void* device, void* host, std::size_t bytes) {
  if (bytes > 0) check(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream_), "copy from the device");
  wait();
}

void Device::wait() { check(cudaStreamSynchronize(stream_), "work on the device"); }

Device::Staging& Device::staging() {
  std::call_once(staging_made_, [this] {
    for (int i = 0; i < 2; ++i) {
      check(cudaMallocHost(&staging_.piece[i], Staging::kBytes), "pinned memory");
      check(cudaEventCreateWithFlags(&staging_.copied[i], cudaEventDisableTiming), "event");
    }
  });
  return staging_;
}

}  // namespace bertx::cuda
