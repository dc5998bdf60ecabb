// The table of methods that zero weights.
#include "pruning/methods.h"

#include <array>

namespace bertx::compress {

std::span<const Row> pruning_methods() {
  static constexpr Family family = Family::pruning;
  static const std::array rows{
      Row{{"magnitude", "zeros the smallest weights, at once or gradually during training", "1510.00149, 1710.01878",
           family, Training::optional, false,
           "sparsity scope distribution pattern schedule_begin schedule_end initial_sparsity mask_interval"},
          magnitude_now,
          make_magnitude},
      Row{{"movement", "keeps the weights that move away from zero while fine-tuning (hard, top-k)", "2005.07683",
           family, Training::always, true,
           "sparsity scope distribution pattern schedule_begin schedule_end initial_sparsity mask_interval "
           "score_learning_rate"},
          nullptr,
          make_movement},
      Row{{"soft_movement", "the same by a threshold on the scores; the sparsity follows from a penalty", "2005.07683",
           family, Training::always, true,
           "sparsity schedule_begin schedule_end score_learning_rate regularization threshold"},
          nullptr,
          make_soft_movement},
  };
  return rows;
}

}  // namespace bertx::compress
