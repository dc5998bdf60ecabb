#include "backend/cuda/tuner.h"

#include "bertx/arena.h"

namespace bertx::cuda {
namespace {

constexpr int kRounds = 5, kCalls = 4;

// One file a device, driver and cuBLASLt: each may change what is fastest.
TuningFile& tuning_file(Device& device) {
  static const Machine machine{device.description(), "cuda"};
  static TuningFile file(tuning_path(machine, ".cuda"), machine);
  return file;
}

class Event {
 public:
  Event() { check(cudaEventCreate(&event_), "event"); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record(Device& device) { check(cudaEventRecord(event_, device.stream()), "event"); }
  double milliseconds_to(const Event& end) const {
    check(cudaEventSynchronize(end.event_), "work on the device");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, event_, end.event_), "event");
    return milliseconds;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

/// An activation laid out as an arena's, all zeros: the time of a product does not depend on its numbers.
struct Activation {
  Activation(Device& device, std::int64_t rows, std::int64_t cols) {
    const std::int64_t stride = row_stride(cols, DType::f32);
    buffer = device.allocate(static_cast<std::size_t>(rows * stride) * sizeof(float));
    check(cudaMemsetAsync(buffer.data.get(), 0, buffer.bytes, device.stream()), "fill");
    tensor = {buffer.data.get(), rows, cols, stride, DType::f32};
  }
  Buffer buffer;
  Tensor tensor;
};

Timings measure(Device& device, const WeightShape& shape, const std::vector<std::unique_ptr<Weight>>& forms,
                const std::vector<std::string>& names) {
  Timings out;
  Event begin, end;
  for (const std::int64_t tokens : kTunedTokens) {
    const Activation x(device, shape.cols, tokens), y(device, shape.rows, tokens);
    out[tokens] = best_in_turn(names, kRounds, [&](std::size_t f) {
      begin.record(device);
      for (int call = 0; call < kCalls; ++call) forms[f]->apply(x.tensor, y.tensor, {});
      end.record(device);
      return begin.milliseconds_to(end) / kCalls;
    });
  }
  return out;
}

}  // namespace

std::unique_ptr<PreparedWeight> tuned_weight(Device& device, const WeightShape& shape,
                                             const std::vector<Candidate>& candidates) {
  if (!worth_tuning(shape, candidates)) return candidates.front().make();
  return bertx::tuned_weight<Weight>(
      tuning_file(device), shape, kTunedTokens, candidates,
      [&](const auto& forms, const auto& names) { return measure(device, shape, forms, names); });
}

}  // namespace bertx::cuda
