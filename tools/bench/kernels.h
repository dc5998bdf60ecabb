// Timing of single products, as the layers call them on the backend: W X for inference and training, Wᵀ dY, dY Xᵀ.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bench/forward.h"

namespace bertx::tools {

/// A matrix to multiply with, sparse and as the same numbers in a dense one.
struct KernelMatrix {
  std::string name;  ///< "3072x768", "768x768 query"
  double sparsity = 0;
  std::shared_ptr<Parameter> dense;
  std::shared_ptr<CsrWeight> csr;
  int random_twin = -1;  ///< index of the matrix with as many nonzeros at random places
};

/// Every different shape of the encoder's matrices at each sparsity: normal weights without the smallest.
std::vector<KernelMatrix> random_matrices(Backend& backend, const Config& config, const std::vector<double>& sparsities,
                                          std::uint64_t seed);
/// The matrices of the middle layer as they are stored, each with a twin at random places.
std::vector<KernelMatrix> stored_matrices(Backend& backend, Model& model, std::uint64_t seed);

struct KernelRow {
  std::string product, matrix, kernel, dtype;
  std::int64_t rows = 0, cols = 0, nonzeros = 0, tokens = 0, threads = 0, reps = 0;
  double sparsity = 0;
  double min_us = 0, median_us = 0;  ///< of a call
  double gflops = 0;                 ///< on nonzeros, by the fastest call
  double peak_gflops = 0;            ///< measured, of these threads and this dtype; 0: unknown
  double dense_us = 0;               ///< the fastest call of the dense product with the same numbers, in the same run
  double random_us = 0;              ///< the same product at random places; 0: there is no such twin
  double error = 0;                  ///< largest error of the checked elements, as a share of the tolerance
};

/// All products of one matrix, sparse and dense, in turn, on `tokens` columns. Throws Error(numeric) naming product
/// and element where one errs by more than the tolerance from the sums in double.
std::vector<KernelRow> time_products(Backend& backend, const KernelMatrix& matrix, std::int64_t tokens,
                                     const BenchRuns& runs);

/// time_products of all matrices, with the peak and the twins filled in.
std::vector<KernelRow> time_kernels(Backend& backend, const std::vector<KernelMatrix>& matrices,
                                    const std::vector<std::int64_t>& tokens, const BenchRuns& runs);

}  // namespace bertx::tools
