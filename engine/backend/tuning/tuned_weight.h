// A weight in the form, or the few forms, that were measured to be the fastest. `Weight` is a backend's own kind of
// PreparedWeight, with
//
//   void apply(Tensor x, Tensor y, const Epilogue& epilogue) const
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <numeric>

#include "backend/tuning/tuning_file.h"
#include "backend/tuning/tuning_wanted.h"

namespace bertx {

/// One way to hold and multiply a weight, e.g. "csr-f32, tiles of 192" or "dense-f32".
template <class Weight>
struct CandidateOf {
  std::string name;
  std::function<std::unique_ptr<Weight>()> make;
};

/// Forms of one weight, and which of them serves how many tokens.
template <class Weight>
class TunedWeight final : public Weight {
 public:
  TunedWeight(std::vector<std::unique_ptr<Weight>> forms, const std::vector<std::size_t>& form_of_class,
              std::span<const std::int64_t> tokens, std::vector<TunedTime> times)
      : forms_(std::move(forms)), tokens_(tokens), times_(std::move(times)) {
    for (const std::size_t form : form_of_class) by_class_.push_back(forms_[form].get());
    std::vector<std::string_view> names;
    for (const auto& form : forms_) {
      if (std::ranges::find(names, form->kernel()) != names.end()) continue;
      kernel_ += (names.empty() ? "" : "+") + std::string(form->kernel());
      names.push_back(form->kernel());
    }
  }
  std::string_view kernel() const override { return kernel_; }
  std::size_t bytes() const override {
    std::map<const void*, std::size_t> bytes;  // forms that share their memory count once
    for (const auto& form : forms_) {
      if constexpr (requires { form->storage(); }) {
        bytes[form->storage()] = form->bytes();
      } else {
        bytes[form.get()] = form->bytes();
      }
    }
    return std::accumulate(bytes.begin(), bytes.end(), std::size_t{0},
                           [](std::size_t sum, const auto& one) { return sum + one.second; });
  }
  std::vector<TunedTime> tuning() const override { return times_; }
  void apply(Tensor x, Tensor y, const Epilogue& epilogue) const override {
    const auto at = static_cast<std::size_t>(std::ranges::lower_bound(tokens_, x.cols) - tokens_.begin());
    by_class_[std::min(at, by_class_.size() - 1)]->apply(x, y, epilogue);
  }

 private:
  std::vector<std::unique_ptr<Weight>> forms_;
  std::vector<const Weight*> by_class_;
  std::span<const std::int64_t> tokens_;  // ascending; they outlive all weights
  std::vector<TunedTime> times_;
  std::string kernel_;
};

/// Candidates are timed in turn for each of `tokens` (`measure(forms, names)` gives the Timings), once for all weights
/// of one key, and what was found is remembered in `file`. With BERTX_TUNE=off nothing is measured and the first
/// candidate is taken: the same on every machine.
template <class Weight, class Measure>
std::unique_ptr<PreparedWeight> tuned_weight(TuningFile& file, const WeightShape& shape,
                                             std::span<const std::int64_t> tokens,
                                             const std::vector<CandidateOf<Weight>>& candidates,
                                             const Measure& measure) {
  std::vector<std::string> names;
  for (const auto& candidate : candidates) names.push_back(candidate.name);
  const std::string key = key_of(shape);
  std::vector<std::unique_ptr<Weight>> forms(candidates.size());
  std::optional<Timings> timings = file.find(key);
  if (!timings || !complete(*timings, tokens, names)) {
    for (std::size_t f = 0; f < forms.size(); ++f) forms[f] = candidates[f].make();
    timings = measure(forms, names);
    file.put(key, *timings);
  }
  const std::vector<std::size_t> chosen = choose_forms(*timings, names);

  std::vector<std::unique_ptr<Weight>> kept;
  std::vector<std::size_t> place(candidates.size()), form_of_class;
  for (std::size_t f = 0; f < candidates.size(); ++f) {
    if (std::ranges::find(chosen, f) == chosen.end()) continue;
    place[f] = kept.size();
    kept.push_back(forms[f] ? std::move(forms[f]) : candidates[f].make());
  }
  for (const std::size_t f : chosen) form_of_class.push_back(place[f]);
  return std::make_unique<TunedWeight<Weight>>(std::move(kept), form_of_class, tokens, report(*timings, names, chosen));
}

/// Whether there is anything to choose, and it may be measured.
template <class Weight>
bool worth_tuning(const WeightShape& shape, const std::vector<CandidateOf<Weight>>& candidates) {
  return candidates.size() > 1 && shape.rows > 0 && shape.cols > 0 && tuning_wanted();
}

}  // namespace bertx
