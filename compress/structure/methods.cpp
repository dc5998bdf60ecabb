// The table of methods that cut whole parts out: heads.
#include "structure/methods.h"

#include <array>

namespace bertx::compress {

std::span<const Row> structure_methods() {
  static constexpr Family family = Family::structure;
  static const std::array rows{
      Row{{"heads", "cuts out the attention heads whose gates matter least to the loss", "1905.10650", family,
           Training::optional, true, "sparsity heads_per_round calibration_samples calibration_batch"},
          heads_now},
  };
  return rows;
}

}  // namespace bertx::compress
