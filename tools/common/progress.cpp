#include "common/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "bertx/files.h"
#include "common/log.h"
#include "common/text.h"

namespace bertx::tools {
namespace {

constexpr auto kBetweenDraws = std::chrono::milliseconds(100);
bool g_drawn = false;

bool on_terminal() {
  static const bool terminal = ::isatty(STDERR_FILENO) == 1;
  return terminal;
}

std::size_t terminal_width() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

}  // namespace

ProgressBar::ProgressBar(std::string title, std::int64_t total, std::string unit, std::int64_t done)
    : title_(std::move(title)), unit_(std::move(unit)), total_(total), first_(done) {
  set_log_clear(&ProgressBar::clear);
}

ProgressBar::~ProgressBar() { clear(); }

void ProgressBar::clear() {
  if (!g_drawn) return;
  std::fputs("\r\033[K", stderr);
  g_drawn = false;
}

/// "training  42 % ████████░░░░░░░░  312/742 steps  5.3/s  1:21 left  loss 0.4312"
void ProgressBar::update(std::int64_t done, const std::string& figures) {
  const auto now = Clock::now();
  if (!on_terminal() || !log_enabled(LogLevel::info) || (now - drawn_ < kBetweenDraws && done < total_)) return;
  drawn_ = now;
  const double seconds = std::chrono::duration<double>(now - begin_).count();
  const double rate = seconds > 0 ? static_cast<double>(done - first_) / seconds : 0;
  const double share = total_ > 0 ? std::clamp(static_cast<double>(done) / static_cast<double>(total_), 0.0, 1.0) : 1;
  constexpr int kCells = 20;
  const int full = static_cast<int>(share * kCells);
  std::string line = title_ + " " + fixed(100 * share, 0) + " % ";
  for (int i = 0; i < kCells; ++i) line += i < full ? '#' : '.';
  line += text("  ", done, "/", total_, " ", unit_);
  if (rate > 0) {
    line += "  " + fixed(rate, rate < 10 ? 2 : 0) + "/s  " + duration_text(static_cast<double>(total_ - done) / rate) +
            " left";
  }
  if (!figures.empty()) line += "  " + figures;
  line.resize(std::min(line.size(), terminal_width() - 1));
  std::fprintf(stderr, "\r\033[K%s", line.c_str());
  std::fflush(stderr);
  g_drawn = true;
}

std::string figures_text(const Figures& figures) {
  std::string out;
  for (auto [name, value] : figures) {
    const bool of_the_run = name == "step" || name == "total_flos" || name.ends_with("runtime") ||
                            name.ends_with("_samples") || name.find("per_second") != std::string::npos;
    if (of_the_run) continue;
    if (name.starts_with("eval_")) name.erase(0, 5);
    const std::string number = value != 0 && std::abs(value) < 1e-3 ? number_text(static_cast<float>(value))
                                                                    : fixed(value, name == "epoch" ? 2 : 4);
    out += (out.empty() ? "" : ", ") + name + " " + number;
  }
  return out;
}

// --- ConsoleProgress ------------------------------------------------------------------------------------------

ConsoleProgress::ConsoleProgress() = default;
ConsoleProgress::~ConsoleProgress() = default;

void ConsoleProgress::on_begin(const TrainState& start, const TrainPlan& plan) {
  training_ = std::make_unique<ProgressBar>("training", plan.total_steps, "steps", start.step);
  log(LogLevel::info, "training: ", plan.total_steps, " steps, ", plan.steps_per_epoch, " an epoch, warm-up ",
      plan.warmup_steps, start.step > 0 ? text(", resumed at step ", start.step) : "");
}

void ConsoleProgress::on_step(const StepReport& report) {
  const double weight = steps_seen_++ == 0 ? 1.0 : 0.05;
  smooth_loss_ += weight * (report.loss - smooth_loss_);
  if (training_) training_->update(report.state.step, "loss " + fixed(smooth_loss_, 4));
}

void ConsoleProgress::on_log(const TrainState& state, const Figures& figures) {
  log(LogLevel::info, "step ", state.step, "/", state.total_steps, ": ", figures_text(figures));
}

void ConsoleProgress::on_evaluate_progress(std::int64_t done, std::int64_t total) {
  if (!evaluation_) evaluation_ = std::make_unique<ProgressBar>("evaluating", total, "texts");
  evaluation_->update(done, "");
  if (done >= total) evaluation_.reset();
}

void ConsoleProgress::on_evaluate(const TrainState& state, const Figures& figures) {
  evaluation_.reset();
  log(LogLevel::info, "step ", state.step, ": ", figures_text(figures));
}

void ConsoleProgress::on_checkpoint(const TrainState&, const std::filesystem::path& path) {
  log(LogLevel::info, "checkpoint: ", path.string());
}

void ConsoleProgress::on_warning(const std::string& warning) { log(LogLevel::warning, warning); }

}  // namespace bertx::tools
