// Zeros at random, the control of every other method (as in Gale, Elsen & Hooker 2019, 1902.09574). A weight's place in
// the ranking is a function of (seed, matrix, row, column), so masks are nested while the sparsity rises: what is gone
// stays gone.
#include "bertx/sparse/parallel.h"
#include "pruning/gradual.h"
#include "pruning/methods.h"
#include "train/update_step.h"

namespace bertx::compress {
namespace {

constexpr std::uint64_t ranking = 0x4A4E4B;  // apart from dropout, which has the same seed

void rank_at_random(Backend& backend, Model& model, double sparsity, const Selection& how, const Recipe& recipe) {
  std::vector<std::vector<float>> keys;
  std::vector<const float*> data;
  for (const MaskedMatrix& matrix : masked_matrices(model)) {
    const std::int64_t rows = matrix.weight->out(), cols = matrix.weight->in();
    const std::uint64_t seed = dropout_seed(recipe.seed ^ ranking, 0, static_cast<std::int64_t>(keys.size()));
    std::vector<float>& own = keys.emplace_back(static_cast<std::size_t>(rows * cols));
    sparse::parallel_ranges(rows, 64, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t i = first; i < last; ++i) {
        for (std::int64_t j = 0; j < cols; ++j) {
          own[static_cast<std::size_t>(i * cols + j)] =
              static_cast<float>(random_u32(seed, static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(j)));
        }
      }
    });
  }
  for (const std::vector<float>& own : keys) data.push_back(own.data());
  rank_masks(backend, model, sparsity, how, Key::value, data);
}

}  // namespace

std::unique_ptr<TrainHook> make_random(const Recipe& recipe, const Calibration& calibration) {
  return std::make_unique<GradualRanking>(recipe, calibration, rank_at_random, false);
}

void random_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration) {
  rank_now(backend, model, recipe, calibration, rank_at_random);
}

}  // namespace bertx::compress
