// The table of methods that write a matrix as a product of smaller ones.
#include "factorization/methods.h"

#include <array>

namespace bertx::compress {

std::span<const Row> factorization_methods() {
  static constexpr Family family = Family::factorization;
  static const std::array rows{
      Row{{"tucker", "the matrices of all layers from factors and a few cores that they share", "2205.10036", family,
           Training::optional, false, "tucker_rank tucker_cores alternations"},
          tucker_now},
  };
  return rows;
}

}  // namespace bertx::compress
