#include "backend/cpu/tuning/tuner.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <limits>
#include <random>

#include "bertx/arena.h"
#include "bertx/error.h"
#include "bertx/sparse/parallel.h"

namespace bertx::cpu {
namespace {

constexpr std::size_t kClasses = std::size(kTunedTokens);
constexpr double kWorthMemory = 0.95;  // a further form must take at most so much of the time without it
constexpr int kRounds = 4;
constexpr std::int64_t kColdTokens = 16;

std::size_t class_of(std::int64_t tokens) {
  const auto at = std::lower_bound(std::begin(kTunedTokens), std::end(kTunedTokens), tokens);
  return std::min<std::size_t>(static_cast<std::size_t>(at - std::begin(kTunedTokens)), kClasses - 1);
}

/// Forms of one weight, and which of them serves how many tokens.
class TunedWeight final : public Weight {
 public:
  TunedWeight(std::vector<std::unique_ptr<Weight>> forms, const std::vector<std::size_t>& form_of_class,
              std::vector<TunedTime> times)
      : forms_(std::move(forms)), times_(std::move(times)) {
    for (std::size_t c = 0; c < kClasses; ++c) by_class_[c] = forms_[form_of_class[c]].get();
    for (const auto& form : forms_) {
      if (kernel_.find(form->kernel()) == std::string::npos) {
        kernel_ += (kernel_.empty() ? "" : "+") + std::string(form->kernel());
      }
    }
  }
  std::string_view kernel() const override { return kernel_; }
  std::size_t bytes() const override {
    std::size_t sum = 0;
    for (const auto& form : forms_) sum += form->bytes();
    return sum;
  }
  std::vector<TunedTime> tuning() const override { return times_; }
  void apply(Tensor x, Tensor y, const Epilogue& epilogue) const override {
    by_class_[class_of(x.cols)]->apply(x, y, epilogue);
  }

 private:
  std::vector<std::unique_ptr<Weight>> forms_;
  const Weight* by_class_[kClasses] = {};
  std::vector<TunedTime> times_;
  std::string kernel_;
};

/// Weights whose densities differ by less than a tenth share their measurements.
std::string key_of(const WeightShape& shape) {
  const double area = std::max(1.0, static_cast<double>(shape.rows) * static_cast<double>(shape.cols));
  const double density = std::max(1e-4, static_cast<double>(shape.nonzeros) / area);
  const auto permille = std::llround(1000 * std::pow(1.1, std::round(std::log(density) / std::log(1.1))));
  return text(shape.rows, "x", shape.cols, ", density ", std::min(1000LL, permille), "/1000, ",
              shape.dtype == DType::bf16 ? "bf16" : "f32", ", ", omp_get_max_threads(), " threads");
}

/// An activation in memory of its own, laid out as an arena's.
struct Activation {
  std::vector<float> memory;
  Tensor tensor;

  Activation(std::int64_t rows, std::int64_t cols)
      : memory(static_cast<std::size_t>(rows * row_stride(cols, DType::f32) + 16)) {
    std::minstd_rand random(1);
    for (float& v : memory) v = static_cast<float>(random()) * 0x1p-31f - 0.5f;
    auto address = (reinterpret_cast<std::uintptr_t>(memory.data()) + 63) / 64 * 64;
    tensor = {reinterpret_cast<void*>(address), rows, cols, row_stride(cols, DType::f32), DType::f32};
  }
};

/// Reads more than any cache holds, on all threads: what a model's other weights do between two uses of this one.
void sweep_caches() {
  static const std::vector<float> memory(24 << 20, 1.0f);
  static std::atomic<float> sink;  // without it the reads would be left out
  const auto count = static_cast<std::int64_t>(memory.size());
  sparse::parallel_ranges(count, 1 << 16, [&](std::int64_t first, std::int64_t last) {
    float sum = 0;
    for (std::int64_t i = first; i < last; i += 16) sum += memory[static_cast<std::size_t>(i)];
    sink.store(sum, std::memory_order_relaxed);
  });
}

double milliseconds(const Weight& weight, Tensor x, Tensor y) {
  const auto begin = std::chrono::steady_clock::now();
  weight.apply(x, y, {});
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

/// The best of some runs of each form, in turn, so that a noisy moment hurts all alike.
Timings measure(const WeightShape& shape, const std::vector<Candidate>& candidates,
                const std::vector<std::unique_ptr<Weight>>& forms) {
  const auto [smallest, largest] =
      std::ranges::minmax_element(forms, {}, [](const auto& form) { return form->bytes(); });
  const bool sizes_differ = 2 * (*largest)->bytes() > 3 * (*smallest)->bytes();
  Timings out;
  for (const std::int64_t tokens : kTunedTokens) {
    // Few tokens wait for the weights: where forms differ in size, they are timed as they lie in a model, out of cache.
    const bool cold = sizes_differ && tokens <= kColdTokens;
    const Activation x(shape.cols, tokens), y(shape.rows, tokens);
    std::vector<double> best(forms.size(), std::numeric_limits<double>::infinity());
    for (int round = -1; round < kRounds; ++round) {  // the first warms up
      for (std::size_t f = 0; f < forms.size(); ++f) {
        if (cold) sweep_caches();
        const double ms = milliseconds(*forms[f], x.tensor, y.tensor);
        if (round >= 0) best[f] = std::min(best[f], ms);
      }
    }
    for (std::size_t f = 0; f < forms.size(); ++f) out[tokens][candidates[f].name] = std::max(best[f], 1e-6);
  }
  return out;
}

bool complete(const Timings& timings, const std::vector<Candidate>& candidates) {
  return std::ranges::all_of(kTunedTokens, [&](std::int64_t tokens) {
    const auto at = timings.find(tokens);
    return at != timings.end() && std::ranges::all_of(candidates, [&](const Candidate& candidate) {
             return at->second.contains(candidate.name);
           });
  });
}

std::vector<TunedTime> report(const Timings& timings, const std::vector<Candidate>& candidates,
                              const std::vector<std::size_t>& chosen) {
  std::vector<TunedTime> out;
  for (std::size_t c = 0; c < kClasses; ++c) {
    for (std::size_t f = 0; f < candidates.size(); ++f) {
      out.push_back(
          {kTunedTokens[c], candidates[f].name, timings.at(kTunedTokens[c]).at(candidates[f].name), chosen[c] == f});
    }
  }
  return out;
}

}  // namespace

std::unique_ptr<PreparedWeight> tuned_weight(const WeightShape& shape, const std::vector<Candidate>& candidates) {
  if (candidates.size() == 1 || !tuning_wanted() || shape.rows == 0 || shape.cols == 0) {
    return candidates.front().make();
  }
  TuningFile& file = TuningFile::instance();
  const std::string key = key_of(shape);
  std::vector<std::unique_ptr<Weight>> forms(candidates.size());
  std::optional<Timings> timings = file.find(key);
  if (!timings || !complete(*timings, candidates)) {
    for (std::size_t f = 0; f < forms.size(); ++f) forms[f] = candidates[f].make();
    timings = measure(shape, candidates, forms);
    file.put(key, *timings);
  }
  std::vector<std::string> names;
  for (const Candidate& candidate : candidates) names.push_back(candidate.name);
  const std::vector<std::size_t> chosen = choose_forms(*timings, names);

  std::vector<std::unique_ptr<Weight>> kept;
  std::vector<std::size_t> place(candidates.size()), form_of_class;
  for (std::size_t f = 0; f < candidates.size(); ++f) {
    if (std::ranges::find(chosen, f) == chosen.end()) continue;
    place[f] = kept.size();
    kept.push_back(forms[f] ? std::move(forms[f]) : candidates[f].make());
  }
  for (const std::size_t f : chosen) form_of_class.push_back(place[f]);
  return std::make_unique<TunedWeight>(std::move(kept), form_of_class, report(*timings, candidates, chosen));
}

std::vector<std::size_t> choose_forms(const Timings& timings, const std::vector<std::string>& names) {
  std::vector<std::vector<double>> ms(kClasses);
  std::vector<double> least(kClasses);
  for (std::size_t c = 0; c < kClasses; ++c) {
    for (const std::string& name : names) ms[c].push_back(timings.at(kTunedTokens[c]).at(name));
    least[c] = *std::ranges::min_element(ms[c]);
  }
  std::size_t base = 0;
  double lowest = std::numeric_limits<double>::infinity();
  for (std::size_t f = 0; f < names.size(); ++f) {
    double ratios = 0;
    for (std::size_t c = 0; c < kClasses; ++c) ratios += ms[c][f] / least[c];
    if (ratios < lowest) lowest = ratios, base = f;
  }
  std::vector<std::size_t> chosen(kClasses, base);
  for (std::size_t c = kClasses; c-- > 0;) {
    // Forms that are held anyway cost nothing, so the best of them serves; a further one must be worth it.
    for (const std::size_t held : std::vector<std::size_t>(chosen)) {
      if (ms[c][held] < ms[c][chosen[c]]) chosen[c] = held;
    }
    const auto best = static_cast<std::size_t>(std::ranges::min_element(ms[c]) - ms[c].begin());
    if (ms[c][best] < kWorthMemory * ms[c][chosen[c]]) chosen[c] = best;
  }
  return chosen;
}

}  // namespace bertx::cpu
