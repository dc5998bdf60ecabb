// Devices, errors, launches, streams, events and graphs.
#include <algorithm>
#include <cstring>
#include <exception>

#include "grid.h"
#include "runtime_state.h"

namespace cuda_emulation {

namespace {
// What an H100 gives a block: without asking, and at most.
constexpr std::size_t kSharedBytes = 48 << 10, kMostSharedBytes = 227 << 10;
}  // namespace

Runtime& Runtime::get() {
  static Runtime instance;
  return instance;
}

cudaError_t Runtime::report(cudaError_t error) {
  if (error != cudaSuccess) last = error;
  return error;
}

cudaError_t Runtime::enqueue(cudaStream_t s, Work work) {
  const std::scoped_lock lock(mutex);
  if (sticky != cudaSuccess) return report(sticky);
  if (stream(s).capturing != nullptr) {
    stream(s).capturing->work.push_back(std::move(work));
    return cudaSuccess;
  }
  waiting.push_back(std::move(work));
  return settings.deferred ? cudaSuccess : finish();
}

cudaError_t Runtime::finish() {
  const std::scoped_lock lock(mutex);
  if (waiting.empty()) return report(sticky);
  const Arena::Open open(arena);
  while (!waiting.empty() && sticky == cudaSuccess) {
    const Work work = std::move(waiting.front());
    waiting.pop_front();
    try {
      work();
    } catch (const std::exception& error) {
      sticky = cudaErrorLaunchFailure;
      words = std::string("unspecified launch failure: ") + error.what();
    }
  }
  if (sticky != cudaSuccess) waiting.clear();
  return report(sticky);
}

cudaError_t Runtime::synchronize(cudaStream_t s) {
  const std::scoped_lock lock(mutex);
  if (stream(s).capturing != nullptr) return report(cudaErrorStreamCaptureUnsupported);
  return finish();
}

bool holds(const std::map<const void*, std::size_t, std::greater<>>& blocks, const void* at, std::size_t bytes) {
  const auto block = blocks.lower_bound(at);  // the last that begins at or before it
  if (block == blocks.end()) return false;
  const auto offset = static_cast<std::size_t>(static_cast<const char*>(at) - static_cast<const char*>(block->first));
  return offset + bytes <= block->second;
}

cudaError_t launch_grid(const void* kernel, dim3 grid, dim3 block, std::size_t shared_bytes, cudaStream_t stream,
                        std::function<void()> body) {
  Runtime& runtime = Runtime::get();
  const std::scoped_lock lock(runtime.mutex);
  const bool some = grid.x > 0 && grid.y > 0 && grid.z > 0 && block.x > 0 && block.y > 0 && block.z > 0;
  const std::size_t threads = std::size_t{block.x} * block.y * block.z;
  if (!some || threads > 1024 || block.z > 64 || grid.x > 0x7FFFFFFFu || grid.y > 65535 || grid.z > 65535) {
    return runtime.report(cudaErrorInvalidConfiguration);
  }
  const auto limit = runtime.shared_limits.find(kernel);
  const std::size_t most = limit == runtime.shared_limits.end() ? kSharedBytes : std::size_t(limit->second);
  if (shared_bytes > std::max(kSharedBytes, most)) return runtime.report(cudaErrorInvalidValue);
  return runtime.enqueue(stream, [grid, block, shared_bytes, body = std::move(body)] {
    Runtime& now = Runtime::get();
    ++now.launches;
    run_grid({grid, block, shared_bytes}, now.settings.seed * 0x9E3779B97F4A7C15u + now.drawn++, body);
  });
}

cudaError_t enqueue(cudaStream_t stream, std::function<void()> work) {
  return Runtime::get().enqueue(stream, std::move(work));
}

void configure(const Settings& settings) {
  Runtime& runtime = Runtime::get();
  const std::scoped_lock lock(runtime.mutex);
  runtime.finish();
  runtime.settings = settings;
  runtime.drawn = 0;
  runtime.arena.guard(settings.guarded);
  runtime.last = runtime.sticky = cudaSuccess;
}

std::size_t device_bytes() {
  const std::scoped_lock lock(Runtime::get().mutex);
  return Runtime::get().device_bytes;
}
std::uint64_t launches() { return Runtime::get().launches; }

}  // namespace cuda_emulation

using cuda_emulation::Runtime;

// ---- devices and errors --------------------------------------------------------------------------------------------

cudaError_t cudaGetDeviceCount(int* count) {
  *count = Runtime::get().settings.devices;
  return *count > 0 ? cudaSuccess : Runtime::get().report(cudaErrorNoDevice);
}
cudaError_t cudaSetDevice(int device) {
  const bool there = device >= 0 && device < Runtime::get().settings.devices;
  return Runtime::get().report(there ? cudaSuccess : cudaErrorInvalidDevice);
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device) {
  if (device != 0) return Runtime::get().report(cudaErrorInvalidDevice);
  *p = {};
  std::strcpy(p->name, "CUDA emulated on the host");
  p->totalGlobalMem = Runtime::get().settings.memory_bytes;
  p->sharedMemPerBlock = cuda_emulation::kSharedBytes;
  p->sharedMemPerBlockOptin = cuda_emulation::kMostSharedBytes;
  p->sharedMemPerMultiprocessor = 228 << 10;
  p->regsPerBlock = 65536;
  p->warpSize = 32;
  p->maxThreadsPerBlock = p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024;
  p->maxThreadsDim[2] = 64;
  p->maxGridSize[0] = 0x7FFFFFFF;
  p->maxGridSize[1] = p->maxGridSize[2] = 65535;
  p->major = 9;
  p->multiProcessorCount = 4;
  p->l2CacheSize = 50 << 20;
  p->maxThreadsPerMultiProcessor = 2048;
  p->memoryPoolsSupported = 1;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp p;
  if (const cudaError_t error = cudaGetDeviceProperties(&p, device); error != cudaSuccess) return error;
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock: *value = p.maxThreadsPerBlock; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = static_cast<int>(p.sharedMemPerBlock); break;
    case cudaDevAttrWarpSize: *value = p.warpSize; break;
    case cudaDevAttrMultiProcessorCount: *value = p.multiProcessorCount; break;
    case cudaDevAttrL2CacheSize: *value = p.l2CacheSize; break;
    case cudaDevAttrComputeCapabilityMajor: *value = p.major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = p.minor; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = static_cast<int>(p.sharedMemPerBlockOptin); break;
    case cudaDevAttrMemoryPoolsSupported: *value = p.memoryPoolsSupported; break;
  }
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) { return cudaDriverGetVersion(version); }
cudaError_t cudaDeviceSynchronize() { return Runtime::get().synchronize(nullptr); }
cudaError_t cudaGetLastError() {
  const std::scoped_lock lock(Runtime::get().mutex);
  const cudaError_t error = Runtime::get().last;
  Runtime::get().last = Runtime::get().sticky;
  return error;
}
cudaError_t cudaPeekAtLastError() { return Runtime::get().last; }
const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorInsufficientDriver: return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorInvalidResourceHandle: return "invalid resource handle";
    case cudaErrorNotReady: return "device not ready";
    case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
    case cudaErrorLaunchFailure: return Runtime::get().words.c_str();
    case cudaErrorNotSupported: return "operation not supported";
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated: return "operation failed due to a previous error during capture";
  }
  return "unrecognized error code";
}
const char* cudaGetErrorName(cudaError_t error) { return cudaGetErrorString(error); }

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (value < 0 || std::size_t(value) > cuda_emulation::kMostSharedBytes) {
    return Runtime::get().report(cudaErrorInvalidValue);
  }
  const std::scoped_lock lock(Runtime::get().mutex);
  Runtime::get().shared_limits[kernel] = value;
  return cudaSuccess;
}
