// Streams, events and graphs of the emulated runtime.
#include "runtime_state.h"

using cuda_emulation::Runtime;

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  *stream = new CUstream_st;
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) { return cudaStreamCreate(stream); }
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const cudaError_t error = Runtime::get().finish();
  delete stream;
  return error;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) { return Runtime::get().synchronize(stream); }
cudaError_t cudaStreamQuery(cudaStream_t) {
  return Runtime::get().waiting.empty() ? Runtime::get().sticky : cudaErrorNotReady;
}
// Work is done in the order of the calls, so a stream that waits for another has nothing more to wait for.
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) { return cudaEventCreate(event); }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const cudaError_t error = Runtime::get().finish();
  delete event;
  return error;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  event->recorded = true;
  event->done = false;
  return Runtime::get().enqueue(stream, [event] {
    event->done = true;
    event->time = std::chrono::steady_clock::now();
  });
}
cudaError_t cudaEventSynchronize(cudaEvent_t) { return Runtime::get().finish(); }
cudaError_t cudaEventQuery(cudaEvent_t event) {
  return event->done || !event->recorded ? Runtime::get().sticky : cudaErrorNotReady;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  if (!start->recorded || !end->recorded) return Runtime::get().report(cudaErrorInvalidResourceHandle);
  if (!start->done || !end->done) return Runtime::get().report(cudaErrorNotReady);
  *milliseconds = std::chrono::duration<float, std::milli>(end->time - start->time).count();
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (stream == nullptr || stream->capturing != nullptr) {
    return Runtime::get().report(cudaErrorStreamCaptureUnsupported);
  }
  stream->capturing = new CUgraph_st;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  if (stream == nullptr || stream->capturing == nullptr) {
    return Runtime::get().report(cudaErrorStreamCaptureInvalidated);
  }
  *graph = stream->capturing;
  stream->capturing = nullptr;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  *exec = new CUgraphExec_st{*graph};
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  // What the first run has left allocated the second cannot allocate.
  if (exec->launched && !exec->graph.held.empty()) return Runtime::get().report(cudaErrorInvalidValue);
  exec->launched = true;
  for (const Work& work : exec->graph.work) {
    if (const cudaError_t error = Runtime::get().enqueue(stream, work); error != cudaSuccess) return error;
  }
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  const cudaError_t error = Runtime::get().finish();
  delete exec;
  return error;
}
