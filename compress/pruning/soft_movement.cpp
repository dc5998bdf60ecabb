// Soft movement pruning (Sanh, Wolf & Rush 2020, 2005.07683): keeps the weights with σ(S) > τ, and pushes scores down
// with the penalty λ · mean over matrices of mean σ(S). The sparsity is a result of λ, not an input: with a wanted
// sparsity λ is steered so that the share of zeros follows a straight line towards it.
#include <algorithm>
#include <cmath>

#include "bertx/error.h"
#include "bertx/files.h"
#include "pruning/masks.h"
#include "pruning/methods.h"
#include "pruning/schedule.h"

namespace bertx::compress {
namespace {

constexpr double least_kept = 0.005;  // of each matrix, plus one weight
constexpr double first_lambda = 100, smallest_lambda = 1e-3, largest_lambda = 1e6;
// Steering. The penalty moves scores, so zeros follow λ with a delay: the answer to a gap is strong, is weakened while
// zeros are on their way, and the part that stays moves slowly. Found on simulated scores under AdamW, where 1,000
// steps and more end within 0.02 of a request of 0.5 to 0.9; in fewer steps scores cannot travel as far as 0.9 needs.
constexpr double proportional = 20, integral = 0.1, smoothing = 1.0 / 25;
constexpr double ramp_end = 0.75;  // share of the steps at which the wanted share of zeros is reached

double logit(double p) { return std::log(p / (1.0 - p)); }

class SoftMovement final : public TrainHook {
 public:
  explicit SoftMovement(const Recipe& recipe) : recipe_(recipe) {}

  void begin(Backend& backend, Model& model, const TrainState&) override {
    mask_weights_with_scores(backend, model, recipe_);
    share_ = masked_share(backend, model);
  }

  void before_step(Backend& backend, Model& model, const TrainState& state) override {
    tau_ = cubic(0.0, recipe_.threshold, recipe_.schedule_begin, recipe_.schedule_end, progress(state));
    if (tau_ <= 0.0) return;
    const auto limit = static_cast<float>(logit(tau_));
    for (const MaskedMatrix& matrix : masked_matrices(model)) apply_threshold(backend, *matrix.weight, limit);
    share_ = masked_share(backend, model);
    steer(state);
  }

  // dS += λ_t σ'(S) / (matrices · n);  λ_t rises with τ
  double after_backward(Backend& backend, Model& model, const TrainState&) override {
    const double weight = lambda() * tau_ / recipe_.threshold;
    const std::vector<MaskedMatrix> matrices = masked_matrices(model);
    double mean = 0;
    for (const MaskedMatrix& matrix : matrices) {
      Parameter& scores = *matrix.weight->scores();
      const auto n = static_cast<double>(scores.tensor().size()) * static_cast<double>(matrices.size());
      if (n > 0) mean += backend.sigmoid_penalty(scores.tensor(), weight / n, scores.gradient()) / n;
    }
    return weight * mean;
  }

  void finish(Backend& backend, Model& model, const TrainState&) override { finalize_masks(backend, model); }

  std::string save() const override {
    return "{\"log_lambda\": " + number_text(log_lambda_) + ", \"error\": " + number_text(error_) +
           ", \"slow_share\": " + number_text(slow_share_) + "}";
  }
  void load(const std::string& json) override {
    const auto read = [&](const std::string& key) {
      const std::size_t at = json.find("\"" + key + "\":");
      const std::size_t begin = at == std::string::npos ? at : json.find_first_not_of(' ', at + key.size() + 3);
      const auto value = begin == std::string::npos
                             ? std::nullopt
                             : parse_double(json.substr(begin, json.find_first_of(",} \n", begin) - begin));
      if (!value) fail(ErrorKind::bad_input, "soft movement state: found ", json, ", expected a number for ", key);
      return *value;
    };
    log_lambda_ = read("log_lambda");
    error_ = read("error");
    slow_share_ = read("slow_share");
  }

  std::vector<std::pair<std::string, double>> figures() const override {
    return {{"sparsity", share_}, {"regularization", lambda()}};
  }

 private:
  double lambda() const {
    if (recipe_.regularization) return *recipe_.regularization;
    return std::clamp(std::exp(log_lambda_ + proportional * error_), smallest_lambda, largest_lambda);
  }

  void apply_threshold(Backend& backend, MaskedWeight& weight, float limit) {
    const HostFloats scores(backend, weight.scores()->tensor());
    change_mask(backend, weight, [&](std::uint8_t* mask, std::int64_t size) {
      std::int64_t kept = 0;
      for (std::int64_t i = 0; i < size; ++i) kept += mask[i] = scores.data()[i] > limit;
      const auto least = std::min(size, static_cast<std::int64_t>(least_kept * static_cast<double>(size)) + 1);
      if (kept < least) {
        const Ranked all{scores.data(), mask, size};
        keep_largest({&all, 1}, least, Key::value);
      }
    });
  }

  // Too few zeros: λ up; too many, or many on their way: down.
  void steer(const TrainState& state) {
    const double begin = recipe_.schedule_begin, end = std::max(ramp_end, begin + 1e-3);
    const double wanted = recipe_.sparsity * std::clamp((progress(state) - begin) / (end - begin), 0.0, 1.0);
    error_ = wanted - share_ - (share_ - slow_share_);
    slow_share_ += smoothing * (share_ - slow_share_);
    log_lambda_ = std::clamp(log_lambda_ + integral * error_, std::log(smallest_lambda), std::log(largest_lambda));
  }

  Recipe recipe_;
  double tau_ = 0, share_ = 0, slow_share_ = 0, log_lambda_ = std::log(first_lambda), error_ = 0;
};

}  // namespace

std::unique_ptr<TrainHook> make_soft_movement(const Recipe& recipe, const Calibration&) {
  return std::make_unique<SoftMovement>(recipe);
}

}  // namespace bertx::compress
