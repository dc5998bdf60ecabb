#include "backend/cuda/tuner.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <mutex>
#include <string_view>

#include "backend/tuning_wanted.h"
#include "bertx/arena.h"
#include "bertx/error.h"

namespace bertx::cuda {
namespace {

constexpr std::size_t kClasses = std::size(kTunedTokens);
constexpr int kRounds = 5, kCalls = 4;

/// Milliseconds: [class of tokens][candidate]
using Timings = std::vector<std::vector<double>>;

std::size_t class_of(std::int64_t tokens) {
  const auto at = std::lower_bound(std::begin(kTunedTokens), std::end(kTunedTokens), tokens);
  return std::min<std::size_t>(static_cast<std::size_t>(at - std::begin(kTunedTokens)), kClasses - 1);
}

/// Forms of one weight, and which of them serves how many tokens.
class TunedWeight final : public Weight {
 public:
  TunedWeight(std::vector<std::unique_ptr<Weight>> forms, const std::vector<std::size_t>& form_of_class,
              std::vector<TunedTime> times)
      : forms_(std::move(forms)), form_of_class_(form_of_class), times_(std::move(times)) {
    std::vector<std::string_view> names;
    for (const auto& form : forms_) {
      if (!form || std::ranges::find(names, form->kernel()) != names.end()) continue;
      kernel_ += (names.empty() ? "" : "+") + std::string(form->kernel());
      names.push_back(form->kernel());
    }
  }
  std::string_view kernel() const override { return kernel_; }
  std::size_t bytes() const override {
    std::size_t sum = 0;
    for (const auto& form : forms_) sum += form ? form->bytes() : 0;
    return sum;
  }
  std::vector<TunedTime> tuning() const override { return times_; }
  void apply(Tensor x, Tensor y, const Epilogue& epilogue) const override {
    forms_[form_of_class_[class_of(x.cols)]]->apply(x, y, epilogue);
  }

 private:
  std::vector<std::unique_ptr<Weight>> forms_;  // null: serves nothing
  std::vector<std::size_t> form_of_class_;
  std::vector<TunedTime> times_;
  std::string kernel_;
};

/// Weights whose densities differ by less than a tenth share their measurements.
std::string key_of(const WeightShape& shape, std::size_t candidates) {
  const double area = std::max(1.0, static_cast<double>(shape.rows) * static_cast<double>(shape.cols));
  const double density = std::max(1e-4, static_cast<double>(shape.nonzeros) / area);
  return text(shape.rows, "x", shape.cols, ", density ", std::llround(std::log(density) / std::log(1.1)), ", ",
              shape.inputs, ", ", candidates);
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

/// The best of some rounds of each form, in turn, so that a noisy moment hurts all alike.
Timings measure(Device& device, const WeightShape& shape, const std::vector<std::unique_ptr<Weight>>& forms) {
  Timings out;
  Event begin, end;
  for (const std::int64_t tokens : kTunedTokens) {
    const Activation x(device, shape.cols, tokens), y(device, shape.rows, tokens);
    std::vector<double>& best = out.emplace_back(forms.size(), std::numeric_limits<double>::infinity());
    for (int round = -1; round < kRounds; ++round) {  // the first warms up
      for (std::size_t f = 0; f < forms.size(); ++f) {
        begin.record(device);
        for (int call = 0; call < kCalls; ++call) forms[f]->apply(x.tensor, y.tensor, {});
        end.record(device);
        const double milliseconds = begin.milliseconds_to(end) / kCalls;
        if (round >= 0) best[f] = std::min(best[f], milliseconds);
      }
    }
  }
  return out;
}

Timings timings_of(Device& device, const WeightShape& shape, const std::vector<std::unique_ptr<Weight>>& forms) {
  static std::mutex lock;
  static std::map<std::string, Timings> known;
  const std::lock_guard guard(lock);
  const std::string key = key_of(shape, forms.size());
  const auto at = known.find(key);
  if (at != known.end()) return at->second;
  return known[key] = measure(device, shape, forms);
}

}  // namespace

std::unique_ptr<PreparedWeight> tuned_weight(Device& device, const WeightShape& shape,
                                             const std::vector<Candidate>& candidates) {
  if (candidates.size() == 1 || !tuning_wanted() || shape.rows == 0 || shape.cols == 0) {
    return candidates.front().make();
  }
  std::vector<std::unique_ptr<Weight>> forms;
  for (const Candidate& candidate : candidates) forms.push_back(candidate.make());
  const Timings timings = timings_of(device, shape, forms);
  std::vector<std::size_t> chosen;
  std::vector<bool> serves(forms.size());
  std::vector<TunedTime> times;
  for (std::size_t c = 0; c < kClasses; ++c) {
    chosen.push_back(static_cast<std::size_t>(std::ranges::min_element(timings[c]) - timings[c].begin()));
    serves[chosen[c]] = true;
    for (std::size_t f = 0; f < forms.size(); ++f) {
      times.push_back({kTunedTokens[c], candidates[f].name, timings[c][f], chosen[c] == f});
    }
  }
  for (std::size_t f = 0; f < forms.size(); ++f) {
    if (!serves[f]) forms[f].reset();
  }
  return std::make_unique<TunedWeight>(std::move(forms), chosen, std::move(times));
}

}  // namespace bertx::cuda
