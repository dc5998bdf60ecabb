// The models that a benchmark compares: one set of numbers as dense and as sparse matrices.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "bertx/model.h"

namespace bertx::tools {

struct Variant {
  Model model;               ///< shares what it has in common with the others
  double sparsity = 0;       ///< of the encoder's matrices, counted
  bool dense = false;        ///< what the others' speed-up refers to
  int same_numbers_as = -1;  ///< index of the variant whose logits must agree
  bool timed = true;         ///< false: there for the check only
  std::string note = {};     ///< behind the kernel's name: "zeros", "random places"
};

/// bert-base | bert-large | minilm-l6 with a classifier of two labels.
Config preset_config(std::string_view name);

/// The weight of one place in the model, from the one that is there.
using Remake = std::function<std::shared_ptr<LinearWeight>(const LinearWeight&)>;
/// A model like `base` whose encoder matrices are remade; all else is shared.
Model with_weights(const Model& base, const Remake& remake);

std::shared_ptr<Parameter> dense_copy(Backend& backend, const LinearWeight& weight);
/// dense_copy with the smallest weights set to zero.
std::shared_ptr<Parameter> pruned_copy(Backend& backend, const LinearWeight& weight, double sparsity);
/// A CSR weight of the same shape and number of nonzeros, at random places.
std::shared_ptr<CsrWeight> random_places(Backend& backend, const LinearWeight& weight, std::uint64_t seed);

/// The share of zeros in the encoder's matrices; that which was asked for, where whole weights allow no other.
double counted_sparsity(Backend& backend, Model& model, double asked = -1);
/// All encoder matrices are dense.
bool is_dense(Model& model);
/// The kernels that the encoder's matrices run: "dense", "csr-packed", joined by "+".
std::string kernels_of(Model& model);

/// The model as it is stored and, where that is not dense, the same numbers in dense matrices; with `control` also the
/// same numbers of nonzeros at random places.
std::vector<Variant> stored_variants(Backend& backend, Model& base, bool control, std::uint64_t seed);

/// For each sparsity the smallest weights of each encoder matrix set to zero: dense for 0, else CSR. Each CSR variant
/// comes with its dense twin for the check, timed where `control`.
std::vector<Variant> sparse_variants(Backend& backend, Model& base, const std::vector<double>& sparsities,
                                     bool control);

}  // namespace bertx::tools
