// The table of methods that write a matrix as a product of smaller ones.
#include "factorization/methods.h"

#include <array>

namespace bertx::compress {

std::span<const Row> factorization_methods() {
  static constexpr Family family = Family::factorization;
  static const std::array rows{
      Row{{"svd", "each matrix of the encoder as two factors, the best of their rank", "Eckart & Young 1936", family,
           Training::optional, false, "rank rank_by ratio energy error speed_up allow_slower"},
          svd_now},
      Row{{"fwsvd", "the same, with errors of weights whose inputs the loss feels more counting more", "2207.00112",
           family, Training::optional, true,
           "rank rank_by ratio energy error speed_up allow_slower calibration_samples"},
          fwsvd_now},
      Row{{"drone", "the same, best for what comes in: measured layer by layer behind the factors before",
           "Chen et al. 2021, NeurIPS", family, Training::optional, true,
           "rank rank_by ratio energy error speed_up allow_slower calibration_samples calibration_batch"},
          drone_now},
      Row{{"low_rank_sparse", "two factors and beside them a sparse matrix of the largest entries that they miss",
           "2306.11222", family, Training::optional, false,
           "rank rank_by ratio energy error speed_up allow_slower remainder_sparsity alternations"},
          low_rank_sparse_now},
      Row{{"embedding", "the word embeddings as two factors; words of the texts count as often as they come up",
           "1909.11942", family, Training::optional, false, "rank allow_slower calibration_samples"},
          embedding_now},
      Row{{"tucker", "the matrices of all layers from factors and a few cores that they share", "2205.10036", family,
           Training::optional, false, "tucker_rank tucker_cores alternations"},
          tucker_now},
  };
  return rows;
}

}  // namespace bertx::compress
