#include "backend/cuda/tuner.h"

#include <random>

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

/// A million random numbers, again and again: dense products of zeros are faster than others, for they take less power.
void fill_randomly(Device& device, const Buffer& buffer) {
  static const std::vector<float> numbers = [] {
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    std::vector<float> out(1 << 20);
    for (float& x : out) x = normal(random);
    return out;
  }();
  auto* const to = static_cast<std::byte*>(buffer.data.get());
  for (std::size_t at = 0; at < buffer.bytes; at += numbers.size() * sizeof(float)) {
    device.write(numbers.data(), to + at, std::min(numbers.size() * sizeof(float), buffer.bytes - at));
  }
}

/// An activation laid out as an arena's.
struct Activation {
  Activation(Device& device, std::int64_t rows, std::int64_t cols) {
    const std::int64_t stride = row_stride(cols, DType::f32);
    buffer = device.allocate(static_cast<std::size_t>(rows * stride) * sizeof(float));
    fill_randomly(device, buffer);
    tensor = {buffer.data.get(), rows, cols, stride, DType::f32};
  }
  Buffer buffer;
  Tensor tensor;
};

Timings measure(Device& device, const WeightShape& shape, const std::vector<std::unique_ptr<Weight>>& forms,
                const std::vector<std::string>& names) {
  Timings out;
  Event begin, end;
  const Activation bias(device, 1, shape.rows);  // nearly all products of a model have one
  for (const std::int64_t tokens : kTunedTokens) {
    const Activation x(device, shape.cols, tokens), y(device, shape.rows, tokens);
    out[tokens] = best_in_turn(names, kRounds, [&](std::size_t f) {
      begin.record(device);
      for (int call = 0; call < kCalls; ++call)
        forms[f]->apply(x.tensor, y.tensor, {bias.tensor, bertx::Activation::none, {}});
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
