// The table of methods that give several layers one weight.
#include "sharing/methods.h"

#include <array>

namespace bertx::compress {

std::span<const Row> sharing_methods() {
  static const std::array rows{
      Row{{"share", "groups of layers with one set of weights, each with a low rank of its own beside it if asked for",
           "1909.11942, 2410.20672", Family::sharing, Training::optional, false, "groups share tie repair_rank"},
          share_now},
  };
  return rows;
}

}  // namespace bertx::compress
