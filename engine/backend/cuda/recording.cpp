// Recordings as CUDA graphs: the launches of a pass put down once, then given to the device in one call. A small batch
// takes its time from launching (some 170 kernels a pass of BERT-base), not from what the kernels do.
#include "backend/cuda/cuda.h"

namespace bertx {

namespace {

using cuda::check, cuda::Device;

/// What this thread calls is put down from here on, in a stream of its own: the one of all others goes on.
class Capture {
 public:
  Capture() {
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "stream");
    if (const cudaError_t error = cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal);
        error != cudaSuccess) {
      cudaStreamDestroy(stream_);
      check(error, "begin of a graph");
    }
    Device::record_into(stream_);
  }
  ~Capture() {
    Device::record_into(nullptr);
    cudaGraph_t left = nullptr;
    if (!ended_ && cudaStreamEndCapture(stream_, &left) == cudaSuccess && left != nullptr) cudaGraphDestroy(left);
    cudaStreamDestroy(stream_);
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  /// The caller destroys it.
  cudaGraph_t end() {
    ended_ = true;
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(stream_, &graph), "end of a graph");
    return graph;
  }

 private:
  cudaStream_t stream_ = nullptr;
  bool ended_ = false;
};

class Graph final : public Recording {
 public:
  Graph(Device& device, cudaGraph_t graph) : device_(device), graph_(graph) {
    const cudaError_t error = cudaGraphInstantiate(&ready_, graph, 0);
    if (error != cudaSuccess) cudaGraphDestroy(graph);
    check(error, "graph");
  }
  ~Graph() override {
    cudaStreamSynchronize(device_.stream());  // it may still run; what went wrong there the next call reports
    cudaGraphExecDestroy(ready_);
    cudaGraphDestroy(graph_);
  }
  void run() override { check(cudaGraphLaunch(ready_, device_.stream()), "launch of a graph"); }

 private:
  Device& device_;
  cudaGraph_t graph_;  ///< memory that was allocated in it has its address as long as it lives
  cudaGraphExec_t ready_ = nullptr;
};

}  // namespace

std::unique_ptr<Recording> CudaBackend::record(const std::function<void()>& operations) {
  Capture capture;
  operations();
  return std::make_unique<Graph>(device_, capture.end());
}

}  // namespace bertx
