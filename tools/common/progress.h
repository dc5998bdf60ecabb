// What a person sees while bertx works: a bar with rate and time left on a terminal, log lines in a pipe.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "bertx/train.h"

namespace bertx::tools {

/// One line that is drawn again and again; draws nothing where stderr is no terminal. One at a time is on the screen.
class ProgressBar {
 public:
  ProgressBar(std::string title, std::int64_t total, std::string unit, std::int64_t done = 0);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void update(std::int64_t done, const std::string& figures);
  static void clear();  ///< takes the bar off the screen until the next update

 private:
  using Clock = std::chrono::steady_clock;
  std::string title_, unit_;
  std::int64_t total_, first_;
  Clock::time_point begin_ = Clock::now(), drawn_{};
};

/// "loss 0.4312, accuracy 0.851": without the prefix eval_ and what says nothing about quality.
std::string figures_text(const Figures& figures);

/// Shows training and evaluation.
class ConsoleProgress : public ProgressObserver {
 public:
  ConsoleProgress();
  ~ConsoleProgress() override;
  void on_begin(const TrainState& start, const TrainPlan& plan) override;
  void on_step(const StepReport& report) override;
  void on_log(const TrainState& state, const Figures& figures) override;
  void on_evaluate_progress(std::int64_t done, std::int64_t total) override;
  void on_evaluate(const TrainState& state, const Figures& figures) override;
  void on_checkpoint(const TrainState& state, const std::filesystem::path& path) override;
  void on_warning(const std::string& warning) override;

 private:
  std::unique_ptr<ProgressBar> training_, evaluation_;
  double smooth_loss_ = 0;
  std::int64_t steps_seen_ = 0;
};

}  // namespace bertx::tools
