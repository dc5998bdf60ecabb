// Memory of the emulated device: allocations begin as NaN, copies are checked against them.
#include <cstdlib>
#include <cstring>

#include "runtime_state.h"

using cuda_emulation::holds;
using cuda_emulation::Runtime;

namespace {

void* aligned(std::size_t bytes) { return std::aligned_alloc(256, (bytes + 255) / 256 * 256); }

/// Rows of bytes.
struct Copy {
  void* to;
  std::size_t to_pitch;
  const void* from;
  std::size_t from_pitch, width, height;

  void run() const {
    for (std::size_t row = 0; row < height; ++row) {
      std::memcpy(static_cast<char*>(to) + row * to_pitch, static_cast<const char*>(from) + row * from_pitch, width);
    }
  }
  std::size_t to_bytes() const { return height == 0 ? 0 : (height - 1) * to_pitch + width; }
  std::size_t from_bytes() const { return height == 0 ? 0 : (height - 1) * from_pitch + width; }
};

/// Whether the copy's ends lie where `kind` says.
bool fits(const Runtime& runtime, const Copy& c, cudaMemcpyKind kind) {
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if (c.width > 0 && c.height > 1 && (c.to_pitch < c.width || c.from_pitch < c.width)) return false;
  if (c.width == 0 || c.height == 0 || kind == cudaMemcpyDefault) return true;
  return to_device == holds(runtime.device, c.to, c.to_bytes()) &&
         from_device == holds(runtime.device, c.from, c.from_bytes());
}

cudaError_t copy_async(const Copy& c, cudaMemcpyKind kind, cudaStream_t stream) {
  Runtime& runtime = Runtime::get();
  const std::scoped_lock lock(runtime.mutex);
  if (!fits(runtime, c, kind)) return runtime.report(cudaErrorInvalidValue);
  if (c.width == 0 || c.height == 0) return cudaSuccess;
  const bool from_host = !holds(runtime.device, c.from, 1), to_host = !holds(runtime.device, c.to, 1);
  if (from_host && to_host) return runtime.enqueue(stream, [c] { c.run(); });
  // Pageable memory is copied before the call returns; pinned memory when the stream comes to it.
  if (from_host && !holds(runtime.pinned, c.from, c.from_bytes())) {
    // A graph would read it at each of its runs, from where it lay at the first.
    if (runtime.stream(stream).capturing != nullptr) return runtime.report(cudaErrorStreamCaptureUnsupported);
    std::vector<char> staged(static_cast<const char*>(c.from), static_cast<const char*>(c.from) + c.from_bytes());
    return runtime.enqueue(stream, [c, staged = std::move(staged)] {
      Copy again = c;
      again.from = staged.data();
      again.run();
    });
  }
  const cudaError_t error = runtime.enqueue(stream, [c] { c.run(); });
  const bool pageable = to_host && !holds(runtime.pinned, c.to, c.to_bytes());
  return error == cudaSuccess && pageable ? runtime.synchronize(stream) : error;
}

cudaError_t fill_async(void* memory, std::size_t pitch, int value, std::size_t width, std::size_t height,
                       cudaStream_t stream) {
  Runtime& runtime = Runtime::get();
  const std::scoped_lock lock(runtime.mutex);
  if (width == 0 || height == 0) return cudaSuccess;
  if (!holds(runtime.device, memory, (height - 1) * pitch + width)) return runtime.report(cudaErrorInvalidValue);
  return runtime.enqueue(stream, [=] {
    for (std::size_t row = 0; row < height; ++row) std::memset(static_cast<char*>(memory) + row * pitch, value, width);
  });
}

cudaError_t release(void* memory) {
  Runtime& runtime = Runtime::get();
  const std::scoped_lock lock(runtime.mutex);
  const auto block = runtime.device.find(memory);
  if (block == runtime.device.end()) return runtime.report(cudaErrorInvalidValue);
  runtime.device_bytes -= block->second;
  runtime.device.erase(block);
  runtime.arena.release(memory);
  return cudaSuccess;
}

}  // namespace

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  Runtime& runtime = Runtime::get();
  const std::scoped_lock lock(runtime.mutex);
  *memory = nullptr;
  if (runtime.sticky != cudaSuccess) return runtime.report(runtime.sticky);
  if (bytes == 0) return cudaSuccess;
  if (runtime.device_bytes + bytes > runtime.settings.memory_bytes ||
      (*memory = runtime.arena.allocate(bytes)) == nullptr) {
    return runtime.report(cudaErrorMemoryAllocation);
  }
  runtime.device[*memory] = bytes;
  runtime.device_bytes += bytes;
  return cudaSuccess;
}
// Captured, it is the graph's: fresh, and so NaN, in each of its runs.
cudaError_t cudaMallocAsync(void** memory, std::size_t bytes, cudaStream_t stream) {
  Runtime& runtime = Runtime::get();
  const std::scoped_lock lock(runtime.mutex);
  const cudaError_t error = cudaMalloc(memory, bytes);
  CUgraph_st* const graph = runtime.stream(stream).capturing;
  if (error != cudaSuccess || graph == nullptr || *memory == nullptr) return error;
  graph->memory->blocks.insert(*memory);
  graph->held.insert(*memory);
  return runtime.enqueue(stream, [at = *memory, bytes] { std::memset(at, 0xFF, bytes); });
}
GraphMemory::~GraphMemory() {
  for (void* const block : blocks) release(block);
}
cudaError_t cudaFree(void* memory) {
  const cudaError_t error = Runtime::get().finish();
  if (memory == nullptr) return error;
  const cudaError_t released = release(memory);
  return error != cudaSuccess ? error : released;
}
cudaError_t cudaFreeAsync(void* memory, cudaStream_t stream) {
  Runtime& runtime = Runtime::get();
  const std::scoped_lock lock(runtime.mutex);
  if (runtime.device.find(memory) == runtime.device.end()) return runtime.report(cudaErrorInvalidValue);
  if (CUgraph_st* const graph = runtime.stream(stream).capturing) {
    // It could free what others have allocated, but only once.
    if (graph->held.erase(memory) == 0) return runtime.report(cudaErrorInvalidValue);
    return runtime.enqueue(stream, [memory, bytes = runtime.device.at(memory)] { std::memset(memory, 0xFF, bytes); });
  }
  if (runtime.sticky != cudaSuccess) return release(memory);
  return runtime.enqueue(stream, [memory] { release(memory); });
}
cudaError_t cudaMallocHost(void** memory, std::size_t bytes) {
  Runtime& runtime = Runtime::get();
  const std::scoped_lock lock(runtime.mutex);
  *memory = aligned(bytes);
  if (*memory == nullptr) return runtime.report(cudaErrorMemoryAllocation);
  runtime.pinned[*memory] = bytes;
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** memory, std::size_t bytes, unsigned) { return cudaMallocHost(memory, bytes); }
cudaError_t cudaFreeHost(void* memory) {
  Runtime& runtime = Runtime::get();
  const std::scoped_lock lock(runtime.mutex);
  const cudaError_t error = runtime.finish();
  if (memory == nullptr) return error;
  if (runtime.pinned.erase(memory) == 0) return runtime.report(cudaErrorInvalidValue);
  std::free(memory);
  return error;
}
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  const std::scoped_lock lock(Runtime::get().mutex);
  *total = Runtime::get().settings.memory_bytes;
  *free = *total - Runtime::get().device_bytes;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int) {
  *pool = nullptr;
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, std::size_t) { return Runtime::get().finish(); }

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  const cudaError_t error = copy_async({to, bytes, from, bytes, bytes, 1}, kind, nullptr);
  return error == cudaSuccess ? Runtime::get().synchronize(nullptr) : error;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return copy_async({to, bytes, from, bytes, bytes, 1}, kind, stream);
}
cudaError_t cudaMemcpy2D(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch, std::size_t width,
                         std::size_t height, cudaMemcpyKind kind) {
  const cudaError_t error = copy_async({to, to_pitch, from, from_pitch, width, height}, kind, nullptr);
  return error == cudaSuccess ? Runtime::get().synchronize(nullptr) : error;
}
cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                              std::size_t width, std::size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  return copy_async({to, to_pitch, from, from_pitch, width, height}, kind, stream);
}
cudaError_t cudaMemset(void* memory, int value, std::size_t bytes) {
  return fill_async(memory, bytes, value, bytes, 1, nullptr);
}
cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes, cudaStream_t stream) {
  return fill_async(memory, bytes, value, bytes, 1, stream);
}
cudaError_t cudaMemset2DAsync(void* memory, std::size_t pitch, int value, std::size_t width, std::size_t height,
                              cudaStream_t stream) {
  return fill_async(memory, pitch, value, width, height, stream);
}
