// What the emulated runtime knows: allocations, work that is put off, the error that stays. Private to the emulator.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "arena.h"
#include "emulation.h"

using Work = std::function<void()>;

/// Memory that was allocated while a graph was captured: the graph's, until the last copy of it goes.
struct GraphMemory {
  ~GraphMemory();
  std::set<void*> blocks;
};
struct CUgraph_st {
  std::vector<Work> work;
  std::shared_ptr<GraphMemory> memory = std::make_shared<GraphMemory>();
  std::set<void*> held;  ///< of it, what the work has not given back
};
struct CUgraphExec_st {
  CUgraph_st graph;
  bool launched = false;
};
struct CUstream_st {
  CUgraph_st* capturing = nullptr;
};
struct CUevent_st {
  bool recorded = false, done = false;
  std::chrono::steady_clock::time_point time{};
};

namespace cuda_emulation {

struct Runtime {
  std::recursive_mutex mutex;
  Arena arena;
  Settings settings;
  std::deque<Work> waiting;  // of all streams, in the order of the calls: one of the orders that a device may choose
  std::map<const void*, std::size_t, std::greater<>> device, pinned;  // bytes by address
  std::size_t device_bytes = 0;
  std::map<const void*, int> shared_limits;  // by kernel
  std::uint64_t launches = 0, drawn = 0;     // since the process began, since configure()
  cudaError_t last = cudaSuccess;            // of a call; cudaGetLastError() clears it
  cudaError_t sticky = cudaSuccess;          // of work; it stays
  std::string words;                         // of the sticky error
  CUstream_st null_stream;

  static Runtime& get();

  CUstream_st& stream(cudaStream_t s) { return s == nullptr ? null_stream : *s; }
  /// Keeps an error for cudaGetLastError() and gives it back.
  cudaError_t report(cudaError_t error);
  cudaError_t enqueue(cudaStream_t stream, Work work);
  /// Does all that waits.
  cudaError_t finish();
  /// The call in hand waits for the device, which no capture allows.
  cudaError_t synchronize(cudaStream_t stream);
};

/// Whether [at, at + bytes) lies in one block of these.
bool holds(const std::map<const void*, std::size_t, std::greater<>>& blocks, const void* at, std::size_t bytes);

}  // namespace cuda_emulation
