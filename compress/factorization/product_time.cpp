#include "factorization/product_time.h"

#include <array>
#include <chrono>
#include <limits>

namespace bertx::compress {
namespace {

constexpr std::int64_t tokens = 128;
constexpr int turns = 12, warm_up = 2;

// Reading a number waits for what a device has been told to do.
void wait(Backend& backend, Tensor y) {
  const Tensor corner = y.row_range(0, 1).col_range(0, 1);
  backend.sum_of_squares({&corner, 1});
}

}  // namespace

double measured_speed_up(Backend& backend, LinearWeight& whole, LinearWeight& other) {
  Arena arena(backend);
  Exec exec{backend, arena};
  const Tensor x = exec.take(whole.in(), tokens), y = exec.take(whole.out(), tokens);
  backend.fill(x, 0.5);
  const std::array<LinearWeight*, 2> weights{&whole, &other};
  std::array<double, 2> fastest{};
  fastest.fill(std::numeric_limits<double>::infinity());
  for (LinearWeight* weight : weights) weight->prepare(backend);
  for (int turn = 0; turn < turns; ++turn) {
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const auto begin = std::chrono::steady_clock::now();
      weights[i]->apply(exec, x, y, {});
      wait(backend, y);
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
      if (turn >= warm_up) fastest[i] = std::min(fastest[i], seconds.count());
    }
  }
  for (LinearWeight* weight : weights) weight->refresh(backend);
  return fastest[0] / fastest[1];
}

}  // namespace bertx::compress
