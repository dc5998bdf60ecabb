#include "common/bench_models.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "bertx/error.h"

namespace bertx::tools {
namespace {

using Remake = std::function<std::shared_ptr<LinearWeight>(const LinearWeight&)>;

/// A model like `base` whose encoder matrices are remade; all else is shared.
Model with_weights(const Model& base, const Remake& remake) {
  Model copy = base;
  copy.visit_linears([&](const std::string&, Linear& linear) { linear.weight = remake(*linear.weight); });
  return copy;
}

std::shared_ptr<Parameter> dense_copy(Backend& backend, const LinearWeight& weight) {
  auto copy = std::make_shared<Parameter>();
  copy->value = make_storage(backend, weight.out(), weight.in(), backend.real());
  weight.materialize(backend, copy->tensor());
  return copy;
}

/// Sets the `count` elements of least magnitude to zero.
template <class T>
void drop_smallest(Tensor w, std::int64_t count) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(w.size()));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  T* values = w.as<T>();
  std::nth_element(order.begin(), order.begin() + count, order.end(), [values](std::int64_t a, std::int64_t b) {
    const T x = std::fabs(values[a]), y = std::fabs(values[b]);
    return x != y ? x < y : a < b;
  });
  for (std::int64_t i = 0; i < count; ++i) values[order[static_cast<std::size_t>(i)]] = 0;
}

std::shared_ptr<Parameter> pruned_copy(Backend& backend, const LinearWeight& weight, double sparsity) {
  auto copy = dense_copy(backend, weight);
  const auto count = static_cast<std::int64_t>(std::llround(sparsity * static_cast<double>(copy->tensor().size())));
  if (count <= 0 || count >= copy->tensor().size()) return copy;
  if (backend.real() == DType::f64)
    drop_smallest<double>(copy->tensor(), count);
  else
    drop_smallest<float>(copy->tensor(), count);
  return copy;
}

/// Counts zeros, packs for inference, and notes which kernels run.
Variant finished(Backend& backend, Model model) {
  Variant out;
  std::int64_t elements = 0, nonzeros = 0;
  bool dense = true;
  model.visit_linears([&](const std::string&, Linear& linear) {
    elements += linear.weight->out() * linear.weight->in();
    nonzeros += linear.weight->nonzeros(backend);
    dense = dense && linear.weight->kind() == "dense";
  });
  model.prepare(backend);
  std::vector<std::string> kernels;
  model.visit_kernels([&](const std::string&, const std::string& kernel, const PreparedWeight*) {
    if (std::ranges::find(kernels, kernel) == kernels.end()) kernels.push_back(kernel);
  });
  for (const std::string& kernel : kernels) out.kernel += (out.kernel.empty() ? "" : "+") + kernel;
  out.sparsity = elements == 0 ? 0 : 1 - static_cast<double>(nonzeros) / static_cast<double>(elements);
  out.dense = dense;
  out.model = std::move(model);
  return out;
}

}  // namespace

Model make_preset(Backend& backend, std::string_view name, std::uint64_t seed) {
  Config config = name == "bert-large"  ? make_config(24, 1024, 16, 4096)
                  : name == "minilm-l6" ? make_config(6, 384, 12, 1536)
                                        : make_config(12, 768, 12, 3072);
  config.head = HeadKind::sequence_classification;
  config.labels = {"LABEL_0", "LABEL_1"};
  return make_model(backend, config, seed);
}

std::vector<Variant> stored_variants(Backend& backend, Model& base) {
  bool dense = true;
  base.visit_linears([&](const std::string&, Linear& linear) { dense = dense && linear.weight->kind() == "dense"; });
  std::vector<Variant> out;
  if (!dense) {
    Model twin = with_weights(
        base, [&](const LinearWeight& weight) { return std::make_shared<DenseWeight>(dense_copy(backend, weight)); });
    out.push_back(finished(backend, std::move(twin)));
  }
  out.push_back(finished(backend, base));
  if (!dense) out.back().same_numbers_as = 0;
  return out;
}

std::vector<Variant> sparse_variants(Backend& backend, Model& base, const std::vector<double>& sparsities,
                                     bool control) {
  if (!backend.host_memory()) fail(ErrorKind::usage, "--sparsity: expected a backend in host memory: cpu or reference");
  std::vector<Variant> out;
  for (const double sparsity : sparsities) {
    Model pruned = with_weights(base, [&](const LinearWeight& weight) {
      return std::make_shared<DenseWeight>(pruned_copy(backend, weight, sparsity));
    });
    if (sparsity == 0) {
      out.push_back(finished(backend, std::move(pruned)));
      continue;
    }
    Model sparse = with_weights(pruned, [&](const LinearWeight& weight) {
      const auto& values = dynamic_cast<const DenseWeight&>(weight).parameter();
      return CsrWeight::from_dense(backend, values->tensor());
    });
    out.push_back(finished(backend, std::move(pruned)));
    Variant& twin = out.back();
    twin.timed = control;
    twin.dense = false;  // the speed-up refers to the model without zeros
    twin.kernel += " (zeros)";
    const int twin_index = static_cast<int>(out.size()) - 1;
    sparse.refresh(backend);
    out.push_back(finished(backend, std::move(sparse)));
    out.back().same_numbers_as = twin_index;
    // The share that was asked for, where whole weights allow it: scripts look rows up by it.
    for (std::size_t v : {out.size() - 2, out.size() - 1}) {
      if (std::fabs(out[v].sparsity - sparsity) < 1e-3) out[v].sparsity = sparsity;
    }
  }
  return out;
}

}  // namespace bertx::tools
