// The table of methods that zero weights.
#include "pruning/methods.h"

#include <array>

namespace bertx::compress {

std::span<const Row> pruning_methods() {
  static constexpr Family family = Family::pruning;
  static const std::array rows{
      Row{{"magnitude", "zeros the smallest weights, at once or gradually during training", "1510.00149, 1710.01878",
           family, Training::optional, false,
           "sparsity scope distribution pattern schedule_begin schedule_end initial_sparsity mask_interval "
           "calibration_samples calibration_batch"},
          magnitude_now,
          make_magnitude},
      Row{{"movement", "keeps the weights that move away from zero while fine-tuning (hard, top-k)", "2005.07683",
           family, Training::always, true,
           "sparsity scope distribution pattern schedule_begin schedule_end initial_sparsity mask_interval "
           "score_learning_rate score_start"},
          nullptr,
          make_movement},
      Row{{"soft_movement", "the same by a threshold on the scores; the sparsity follows from a penalty", "2005.07683",
           family, Training::always, true,
           "sparsity schedule_begin schedule_end score_learning_rate score_start regularization threshold"},
          nullptr,
          make_soft_movement},
      Row{{"block_movement",
           "movement of blocks of attention and of neurons; in the end heads and neurons without any are cut out",
           "2109.04838", family, Training::always, true,
           "sparsity schedule_begin schedule_end score_learning_rate regularization threshold block_height "
           "block_width"},
          nullptr,
          make_block_movement},
      Row{{"l0", "keeps weights by gates that are drawn anew in each step; the sparsity follows from a penalty",
           "1712.01312, 2005.07683", family, Training::always, true,
           "sparsity schedule_begin schedule_end score_learning_rate regularization"},
          nullptr,
          make_l0},
      Row{{"iterative_magnitude", "zeros the smallest weights in rounds, with training between; weights may be rewound",
           "1506.02626, 2003.02389", family, Training::always, false,
           "sparsity scope distribution pattern rounds rewind calibration_samples calibration_batch"},
          nullptr,
          make_iterative_magnitude},
      Row{{"random", "zeros weights at random, at once or gradually: a control", "1902.09574", family,
           Training::optional, false,
           "sparsity scope distribution pattern schedule_begin schedule_end initial_sparsity mask_interval "
           "calibration_samples calibration_batch"},
          random_now,
          make_random},
      Row{{"wanda", "zeros the smallest products of weight and norm of input in each row, at once", "2306.11695",
           family, Training::optional, true, "sparsity distribution pattern calibration_samples calibration_batch"},
          wanda_now,
          make_wanda},
      Row{{"sparsegpt", "at once, and the weights that stay make good of those that went, layer by layer", "2301.00774",
           family, Training::optional, true,
           "sparsity distribution pattern damp block_size calibration_samples calibration_batch"},
          sparsegpt_now,
          make_sparsegpt},
      Row{{"obert", "zeros what the loss misses least by its curvature, and corrects the rest; at once or in training",
           "2203.07259", family, Training::optional, true,
           "sparsity scope pattern schedule_begin schedule_end initial_sparsity recomputations damp block_size "
           "fisher_gradients fisher_memory calibration_samples"},
          obert_now,
          make_obert},
  };
  return rows;
}

}  // namespace bertx::compress
