#include "pruning/soft_scores.h"

#include <algorithm>
#include <cmath>

#include "bertx/files.h"
#include "io/json.h"
#include "pruning/ranking.h"
#include "pruning/schedule.h"

namespace bertx::compress {
namespace {

constexpr double least_kept = 0.005;  // of each matrix, plus one weight
constexpr double smallest_lambda = 1e-3, largest_lambda = 1e6;
// Steering. The penalty moves scores, so zeros follow λ with a delay: the answer to a gap is strong, is weakened while
// zeros are on their way, and the part that stays moves slowly. Zeros hardly come back, so too many are answered more
// strongly still.
constexpr double proportional = 20, proportional_beyond = 500, integral = 0.1, smoothing = 1.0 / 25;

}  // namespace

void keep_above(const float* scores, std::uint8_t* mask, std::int64_t size, double threshold) {
  const auto limit = static_cast<float>(std::log(threshold / (1.0 - threshold)));
  std::int64_t kept = 0;
  for (std::int64_t i = 0; i < size; ++i) kept += mask[i] = scores[i] > limit;
  const auto least = std::min(size, static_cast<std::int64_t>(least_kept * static_cast<double>(size)) + 1);
  if (kept < least) {
    const Ranked all{scores, mask, size};
    keep_largest({&all, 1}, least, Key::value);
  }
}

double risen(const Recipe& recipe, const TrainState& state) {
  return cubic(0.0, 1.0, recipe.schedule_begin, recipe.schedule_end, progress(state));
}

double add_penalty(Backend& backend, std::span<Parameter* const> scores, double weight, double shift) {
  std::int64_t largest = 0;
  for (const Parameter* p : scores) largest = std::max(largest, p->tensor().size());
  const Storage scratch = shift == 0.0 ? Storage{} : make_storage(backend, 1, largest, backend.real());
  double mean = 0;
  for (Parameter* p : scores) {
    Tensor s = p->tensor();
    if (s.size() == 0) continue;
    if (shift != 0.0) {
      const Tensor shifted = view(scratch.tensor.data, s.rows, s.cols, s.dtype);
      backend.fill(shifted, shift);
      backend.add(s, shifted);
      s = shifted;
    }
    const double share = 1.0 / (static_cast<double>(s.size()) * static_cast<double>(scores.size()));
    mean += backend.sigmoid_penalty(s, weight * share, p->gradient()) * share;
  }
  return weight * mean;
}

Steering::Steering(const Recipe& recipe, double first_lambda) : recipe_(recipe), log_lambda_(std::log(first_lambda)) {}

double Steering::lambda() const {
  if (recipe_.regularization) return *recipe_.regularization;
  const double gain = error_ < 0 ? proportional_beyond : proportional;
  return std::clamp(std::exp(log_lambda_ + gain * error_), smallest_lambda, largest_lambda);
}

// Too few zeros: λ up; too many, or many on their way: down.
void Steering::steer(const TrainState& state, double share) {
  const double wanted = cubic(0.0, recipe_.sparsity, recipe_.schedule_begin, recipe_.schedule_end, progress(state));
  error_ = wanted - share - (share - slow_share_);
  slow_share_ += smoothing * (share - slow_share_);
  log_lambda_ = std::clamp(log_lambda_ + integral * error_, std::log(smallest_lambda), std::log(largest_lambda));
}

std::string Steering::save() const {
  return "{\"log_lambda\": " + number_text(log_lambda_) + ", \"error\": " + number_text(error_) +
         ", \"slow_share\": " + number_text(slow_share_) + "}";
}

void Steering::load(const std::string& json) {
  const nlohmann::json state = parse_json_text(json, "state of the penalty");
  const JsonObject object(state, "state of the penalty");
  const auto read = [&](std::string_view key) {
    if (!object.has(key)) object.fail_at(key, "a number");
    return object.number(key, 0.0, -1e9, 1e9, "a number");
  };
  log_lambda_ = read("log_lambda");
  error_ = read("error");
  slow_share_ = read("slow_share");
}

}  // namespace bertx::compress
