#include "bench/models.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "bertx/error.h"

namespace bertx::tools {
namespace {

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

}  // namespace

Config preset_config(std::string_view name) {
  Config config = name == "bert-large"  ? make_config(24, 1024, 16, 4096)
                  : name == "minilm-l6" ? make_config(6, 384, 12, 1536)
                                        : make_config(12, 768, 12, 3072);
  config.head = HeadKind::sequence_classification;
  config.labels = {"LABEL_0", "LABEL_1"};
  return config;
}

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

std::shared_ptr<Parameter> pruned_copy(Backend& backend, const LinearWeight& weight, double sparsity) {
  auto copy = dense_copy(backend, weight);
  const Tensor own = copy->tensor();
  const auto count = static_cast<std::int64_t>(std::llround(sparsity * static_cast<double>(own.size())));
  if (count <= 0 || count >= own.size()) return copy;
  std::vector<float> host(backend.host_memory() ? 0 : static_cast<std::size_t>(own.size()));
  const Tensor w = backend.host_memory() ? own : view(host.data(), own.rows, own.cols, DType::f32);
  if (!backend.host_memory()) backend.download(own, w);
  if (w.dtype == DType::f64)
    drop_smallest<double>(w, count);
  else
    drop_smallest<float>(w, count);
  if (!backend.host_memory()) backend.upload(w, own);
  return copy;
}

std::shared_ptr<CsrWeight> random_places(Backend& backend, const LinearWeight& weight, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const std::int64_t size = weight.out() * weight.in();
  std::vector<float> dense(static_cast<std::size_t>(size));
  std::int64_t left = weight.nonzeros(backend);
  for (std::int64_t i = 0; i < size; ++i) {  // each place with the chance that the rest still needs
    if (static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(size - i)) >= left) continue;
    dense[static_cast<std::size_t>(i)] = 0.01f + 0.0001f * static_cast<float>(random() % 256);
    --left;
  }
  const Storage w = make_storage(backend, weight.out(), weight.in(), backend.real());
  backend.upload(view(dense.data(), weight.out(), weight.in(), DType::f32), w.tensor);
  return CsrWeight::from_dense(backend, w.tensor);
}

double counted_sparsity(Backend& backend, Model& model, double asked) {
  std::int64_t elements = 0, nonzeros = 0;
  model.visit_linears([&](const std::string&, Linear& linear) {
    elements += linear.weight->out() * linear.weight->in();
    nonzeros += linear.weight->nonzeros(backend);
  });
  const double counted = elements == 0 ? 0 : 1 - static_cast<double>(nonzeros) / static_cast<double>(elements);
  return std::fabs(counted - asked) < 1e-3 ? asked : counted;
}

bool is_dense(Model& model) {
  bool dense = true;
  model.visit_linears([&](const std::string&, Linear& linear) { dense = dense && linear.weight->kind() == "dense"; });
  return dense;
}

std::string kernels_of(Model& model) {
  std::vector<std::string> kernels;  // a weight with several forms names them "dense+csr-packed"
  model.visit_kernels([&](const std::string&, const std::string& kernel, const PreparedWeight*) {
    for (std::size_t begin = 0; begin <= kernel.size();) {
      const std::size_t end = std::min(kernel.find('+', begin), kernel.size());
      const std::string form = kernel.substr(begin, end - begin);
      if (std::ranges::find(kernels, form) == kernels.end()) kernels.push_back(form);
      begin = end + 1;
    }
  });
  std::ranges::sort(kernels);
  std::string out;
  for (const std::string& kernel : kernels) out += (out.empty() ? "" : "+") + kernel;
  return out;
}

std::vector<Variant> stored_variants(Backend& backend, Model& base, bool control, std::uint64_t seed) {
  const double sparsity = counted_sparsity(backend, base);
  if (is_dense(base) && sparsity < 0.15) return {{base, sparsity, true}};  // too few zeros to be taken out
  std::vector<Variant> out;
  out.push_back({with_weights(base,
                              [&](const LinearWeight& weight) {
                                return std::make_shared<DenseWeight>(dense_copy(backend, weight), false);
                              }),
                 sparsity, true});
  out.push_back({base, sparsity, false, 0});
  if (control) {
    std::uint64_t next = seed;
    Model twin = with_weights(base, [&](const LinearWeight& weight) { return random_places(backend, weight, next++); });
    out.push_back({std::move(twin), sparsity, false, -1, true, "random places"});
  }
  return out;
}

std::vector<Variant> sparse_variants(Backend& backend, Model& base, const std::vector<double>& sparsities,
                                     bool control) {
  std::vector<Variant> out;
  for (const double sparsity : sparsities) {
    Model pruned = with_weights(base, [&](const LinearWeight& weight) {
      return std::make_shared<DenseWeight>(pruned_copy(backend, weight, sparsity), false);
    });
    const double counted = counted_sparsity(backend, pruned, sparsity);
    if (sparsity == 0) {
      out.push_back({std::move(pruned), counted, true});
      continue;
    }
    Model sparse = with_weights(pruned, [&](const LinearWeight& weight) {
      const auto& values = dynamic_cast<const DenseWeight&>(weight).parameter();
      return CsrWeight::from_dense(backend, values->tensor());
    });
    const int twin = static_cast<int>(out.size());
    out.push_back({std::move(pruned), counted, false, -1, control, "zeros"});
    out.push_back({std::move(sparse), counted, false, twin});
  }
  return out;
}

}  // namespace bertx::tools
