// The table of methods that cut whole parts out: heads, neurons, layers.
#include "structure/methods.h"

#include <array>

namespace bertx::compress {

std::span<const Row> structure_methods() {
  static constexpr Family family = Family::structure;
  static const std::array rows{
      Row{{"heads", "cuts out the attention heads whose gates matter least to the loss", "1905.10650", family,
           Training::optional, true,
           "sparsity importance heads_per_round metric_floor calibration_samples calibration_batch"},
          heads_now},
      Row{{"neurons", "cuts out the feed-forward neurons whose gates matter least to the loss",
           "1611.06440, 1906.10771, 1910.06360", family, Training::optional, true,
           "sparsity importance neurons_per_round metric_floor calibration_samples calibration_batch"},
          neurons_now},
      Row{{"mask_search", "heads and neurons under one budget by their gates' curvature; those that stay are rescaled",
           "2204.09656", family, Training::optional, true,
           "budget budget_of rescale calibration_samples calibration_batch"},
          mask_search_now},
      Row{{"layers", "drops whole layers: the highest, the lowest, by their contribution, or by name", "2004.03844",
           family, Training::optional, false, "which drop cosine keep_layers calibration_samples calibration_batch"},
          layers_now},
  };
  return rows;
}

}  // namespace bertx::compress
