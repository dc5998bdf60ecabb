#include "bench/kernels.h"

#include <algorithm>
#include <random>

#include "bench/peak.h"
#include "bertx/error.h"
#include "common/log.h"

namespace bertx::tools {
namespace {

/// "query" … "ffn out" of "bert.encoder.layer.5.attention.self.query" …
std::string short_name(const std::string& path) {
  if (path.ends_with("attention.output.dense")) return "attn out";
  if (path.ends_with("intermediate.dense")) return "ffn in";
  if (path.ends_with("output.dense")) return "ffn out";
  return path.substr(path.rfind('.') + 1);
}

std::string shape_name(const LinearWeight& weight) { return text(weight.out(), "x", weight.in()); }

KernelMatrix matrix_of(Backend& backend, std::string name, std::shared_ptr<Parameter> dense) {
  KernelMatrix out;
  out.name = std::move(name);
  out.csr = CsrWeight::from_dense(backend, dense->tensor());
  out.csr->refresh(backend);
  out.sparsity = 1 - static_cast<double>(out.csr->multiplies()) / static_cast<double>(dense->tensor().size());
  out.dense = std::move(dense);
  return out;
}

}  // namespace

std::vector<KernelMatrix> random_matrices(Backend& backend, const Config& config, const std::vector<double>& sparsities,
                                          std::uint64_t seed) {
  std::vector<std::pair<std::int64_t, std::int64_t>> shapes;
  const auto add = [&](std::int64_t rows, std::int64_t cols) {
    const bool there = std::ranges::find(shapes, std::pair{rows, cols}) != shapes.end();
    if (!there && rows > 0 && cols > 0) shapes.emplace_back(rows, cols);
  };
  for (const LayerShape& layer : config.layers) {
    const std::int64_t context = layer.heads * layer.head_dim;
    add(context, config.hidden);
    add(config.hidden, context);
    add(layer.ffn, config.hidden);
    add(config.hidden, layer.ffn);
  }
  std::vector<KernelMatrix> out;
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0, 0.02f);
  for (const auto& [rows, cols] : shapes) {
    const auto whole = std::make_shared<Parameter>();
    whole->value = make_storage(backend, rows, cols, backend.real());
    std::vector<float> values(static_cast<std::size_t>(rows * cols));
    for (float& value : values) value = normal(random);
    backend.upload(view(values.data(), rows, cols, DType::f32), whole->tensor());
    const DenseWeight weight(whole);
    for (const double sparsity : sparsities) {
      out.push_back(matrix_of(backend, shape_name(weight), pruned_copy(backend, weight, sparsity)));
      if (std::abs(out.back().sparsity - sparsity) < 1e-3) out.back().sparsity = sparsity;
    }
  }
  return out;
}

std::vector<KernelMatrix> stored_matrices(Backend& backend, Model& model, std::uint64_t seed) {
  std::vector<std::pair<std::string, std::shared_ptr<LinearWeight>>> weights;
  model.visit_linears([&](const std::string& path, Linear& linear) { weights.emplace_back(path, linear.weight); });
  const std::size_t each = 6, middle = weights.size() / each / 2 * each;  // six matrices a layer
  std::vector<KernelMatrix> out;
  for (std::size_t i = middle; i < std::min(weights.size(), middle + each); ++i) {
    const auto& [path, weight] = weights[i];
    if (weight->out() == 0 || weight->in() == 0) continue;  // a layer whose heads or neurons are all gone
    KernelMatrix own = matrix_of(backend, shape_name(*weight) + " " + short_name(path), dense_copy(backend, *weight));
    const auto places = random_places(backend, *own.csr, seed + i);
    out.push_back(matrix_of(backend, shape_name(*weight) + " random", dense_copy(backend, *places)));
    own.random_twin = static_cast<int>(out.size()) - 1;
    out.push_back(std::move(own));
  }
  if (out.empty()) fail(ErrorKind::usage, "--kernels: the model has no encoder matrices to multiply with");
  return out;
}

std::vector<KernelRow> time_kernels(Backend& backend, const std::vector<KernelMatrix>& matrices,
                                    const std::vector<std::int64_t>& tokens, const BenchRuns& runs) {
  const auto threads = static_cast<int>(runs.threads);
  const std::string dtype = dtype_name(backend.real());
  // Other processes slow the loop of the peak, too: it is measured again beside every matrix, and the best counts.
  const auto peak_now = [&] {
    return backend.host_memory() ? measured_peak(dtype, threads) : 0.0;
  };  // of the processor
  double peak = peak_now();
  std::vector<KernelRow> rows;
  for (const std::int64_t t : tokens) {
    std::vector<std::vector<KernelRow>> of_matrix;
    for (const KernelMatrix& matrix : matrices) {
      log(LogLevel::debug, matrix.name, ", ", matrix.sparsity, " zeros, ", t, " tokens, ", threads, " threads");
      of_matrix.push_back(time_products(backend, matrix, t, runs));
      peak = std::max(peak, peak_now());
    }
    for (std::size_t m = 0; m < matrices.size(); ++m) {
      for (std::size_t p = 0; p < of_matrix[m].size(); ++p) {
        KernelRow& row = rows.emplace_back(of_matrix[m][p]);
        const int twin = matrices[m].random_twin;
        if (twin >= 0) row.random_us = of_matrix[static_cast<std::size_t>(twin)][p].min_us;
      }
    }
  }
  for (KernelRow& row : rows) row.peak_gflops = 1e-9 * peak;
  return rows;
}

}  // namespace bertx::tools
