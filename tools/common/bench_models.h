// The models that a benchmark compares: one set of numbers as dense and as sparse matrices.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "bertx/model.h"

namespace bertx::tools {

struct Variant {
  Model model;               ///< prepared for inference; shares what it has in common with the others
  double sparsity = 0;       ///< of the encoder's matrices, counted
  bool dense = false;        ///< what the others' speed-up refers to
  int same_numbers_as = -1;  ///< index of the variant whose logits must agree
  bool timed = true;         ///< false: there for the check only
  std::string kernel;
};

/// bert-base | bert-large | minilm-l6 with a classifier of two labels and random weights.
Model make_preset(Backend& backend, std::string_view name, std::uint64_t seed);

/// The model as it is stored and, where that is not dense, the same numbers in dense matrices.
std::vector<Variant> stored_variants(Backend& backend, Model& base);

/// For each sparsity the smallest weights of each encoder matrix set to zero: dense for 0, else CSR. Each CSR variant
/// comes with its dense twin for the check, timed where `control`.
std::vector<Variant> sparse_variants(Backend& backend, Model& base, const std::vector<double>& sparsities,
                                     bool control);

}  // namespace bertx::tools
