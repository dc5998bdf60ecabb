#include "backend/cuda/tuner.h"

#include <cmath>
#include <random>

#include "bertx/arena.h"
#include "bertx/error.h"

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
  Activation(Device& device, std::int64_t rows, std::int64_t cols, DType type = DType::f32) {
    const std::int64_t stride = row_stride(cols, type);
    buffer = device.allocate(static_cast<std::size_t>(rows * stride) * size_of(type));
    tensor = {buffer.data.get(), rows, cols, stride, type};
  }
  Buffer buffer;
  Tensor tensor;
};

/// What a weight of this shape is applied to, as in a model: of two products, one gives what only the other reads.
class Trial {
 public:
  Trial(Device& device, const WeightShape& shape, std::int64_t tokens)
      : device_(device),
        bf16_(shape.products.starts_with("bf16")),
        bias_(device, 1, shape.rows),
        x_(device, shape.cols, tokens),
        y_(device, shape.rows, tokens),
        inner_x_(device, shape.cols, tokens, bf16_ ? DType::bf16 : DType::f32),
        inner_y_(device, shape.rows, tokens, bf16_ ? DType::bf16 : DType::f32) {
    fill_randomly(device, bias_.buffer);
    fill_randomly(device, x_.buffer);
    if (bf16_) {
      to_bf16(device.stream(), const_matrix(x_.tensor), shape_of(x_.tensor), bf16_matrix(inner_x_.tensor));
    } else {
      fill_randomly(device, inner_x_.buffer);
    }
  }
  void run(const Weight& form, int call) const {
    const bool first = call % 2 == 0;
    form.apply(first ? x_.tensor : inner_x_.tensor, first ? inner_y_.tensor : y_.tensor,
               {bias_.tensor, bertx::Activation::none, {}});
  }
  /// Of both products.
  std::vector<float> results(const Weight& form) const {
    for (const Activation* y : {&inner_y_, &y_}) {  // so that what is not written is seen
      check(cudaMemsetAsync(y->buffer.data.get(), 0xFF, y->buffer.bytes, device_.stream()), "fill");
    }
    std::vector<float> out;
    for (int call = 0; call < 2; ++call) {
      run(form, call);
      Tensor y = call == 0 ? inner_y_.tensor : y_.tensor;
      if (y.dtype == DType::bf16) {
        from_bf16(device_.stream(), bf16_matrix(y), shape_of(y), matrix(y_.tensor));
        y = y_.tensor;
      }
      std::vector<float> rows(static_cast<std::size_t>(y.rows * y.stride));
      device_.read(y.data, rows.data(), rows.size() * sizeof(float));
      for (std::int64_t row = 0; row < y.rows; ++row) {
        const auto begin = rows.begin() + row * y.stride;
        out.insert(out.end(), begin, begin + y.cols);
      }
    }
    return out;
  }

 private:
  Device& device_;
  bool bf16_;
  Activation bias_, x_, y_, inner_x_, inner_y_;
};

/// Forms differ in the order of their sums only. That they do is checked where they are chosen, on the device that runs
/// them: a wrong one must not win.
void expect_equal(const Trial& trial, std::int64_t tokens, const WeightShape& shape,
                  const std::vector<std::unique_ptr<Weight>>& forms, const std::vector<std::string>& names) {
  constexpr double kAccepted = 0x1p-6;  // of the root mean square: beyond what a rounding to bf16 can bring
  const std::vector<float> want = trial.results(*forms.front());
  for (std::size_t f = 1; f < forms.size(); ++f) {
    const std::vector<float> got = trial.results(*forms[f]);
    double error = 0, size = 0;
    for (std::size_t i = 0; i < want.size(); ++i) {
      const double difference = static_cast<double>(got[i]) - static_cast<double>(want[i]);
      error += difference * difference;
      size += static_cast<double>(want[i]) * static_cast<double>(want[i]);
    }
    if (error <= kAccepted * kAccepted * size) continue;
    fail(ErrorKind::numeric, "backend \"cuda\": two ways to multiply by a matrix of ", shape.rows, " x ", shape.cols,
         " (", shape.products, ") disagree at ", tokens, " tokens: \"", names[f], "\" differs from \"", names.front(),
         "\" by ", std::sqrt(error / size), " of its size. This is a defect of bertx; BERTX_TUNE=off takes \"",
         names.front(), "\"");
  }
}

Timings measure(Device& device, const WeightShape& shape, const std::vector<std::unique_ptr<Weight>>& forms,
                const std::vector<std::string>& names) {
  Timings out;
  Event begin, end;
  for (const std::int64_t tokens : kTunedTokens) {
    const Trial trial(device, shape, tokens);
    expect_equal(trial, tokens, shape, forms, names);
    out[tokens] = best_in_turn(names, kRounds, [&](std::size_t f) {
      begin.record(device);
      for (int call = 0; call < kCalls; ++call) trial.run(*forms[f], call);
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
