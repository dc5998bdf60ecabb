#include "weights/stacked.h"

#include "weights/host_copy.h"

namespace bertx {
namespace {

/// The maps as CSR, those in dense matrices with many zeros too; empty where one has no such form.
std::vector<std::shared_ptr<const CsrWeight>> sparse_weights(Backend& backend, std::span<const Linear* const> linears) {
  std::vector<std::shared_ptr<const CsrWeight>> out;
  for (const Linear* linear : linears) {
    auto weight = std::dynamic_pointer_cast<const CsrWeight>(linear->weight);
    if (const auto* dense = dynamic_cast<const DenseWeight*>(linear->weight.get()))
      weight = dense->without_zeros(backend);
    if (!weight) return {};
    out.push_back(std::move(weight));
  }
  return out;
}

std::vector<const DenseWeight*> dense_weights(std::span<const Linear* const> linears) {
  std::vector<const DenseWeight*> out;
  for (const Linear* linear : linears) {
    const auto* weight = dynamic_cast<const DenseWeight*>(linear->weight.get());
    if (weight == nullptr) return {};
    out.push_back(weight);
  }
  return out;
}

std::unique_ptr<PreparedWeight> stack_csr(Backend& backend,
                                          const std::vector<std::shared_ptr<const CsrWeight>>& weights) {
  std::vector<std::int32_t> row_start{0}, columns;
  std::vector<double> values;
  for (const auto& weight : weights) {
    const auto before = static_cast<std::int32_t>(columns.size());
    const auto starts = downloaded<std::int32_t>(backend, weight->pattern().row_start);
    const auto more_columns = downloaded<std::int32_t>(backend, weight->pattern().columns);
    const auto more_values = downloaded<double>(backend, weight->values().tensor());
    for (std::size_t r = 1; r < starts.size(); ++r) row_start.push_back(before + starts[r]);
    columns.insert(columns.end(), more_columns.begin(), more_columns.end());
    values.insert(values.end(), more_values.begin(), more_values.end());
  }
  const Storage starts = stored(backend, row_start), all_columns = stored(backend, columns),
                all_values = stored(backend, values, backend.real());
  const CsrPattern pattern{static_cast<std::int64_t>(row_start.size()) - 1,
                           weights.front()->in(),
                           static_cast<std::int64_t>(columns.size()),
                           starts.tensor,
                           all_columns.tensor,
                           {},
                           {},
                           {}};
  return backend.prepare_csr(pattern, all_values.tensor);
}

std::unique_ptr<PreparedWeight> stack_dense(Backend& backend, const std::vector<const DenseWeight*>& weights) {
  std::int64_t rows = 0;
  for (const DenseWeight* weight : weights) rows += weight->out();
  const Storage all = make_storage(backend, rows, weights.front()->in(), backend.real());
  std::int64_t row = 0;
  for (const DenseWeight* weight : weights) {
    backend.copy(weight->parameter()->tensor(), all.tensor.row_range(row, weight->out()));
    row += weight->out();
  }
  return backend.prepare_dense(all.tensor);
}

}  // namespace

std::shared_ptr<const StackedLinear> stack_linears(Backend& backend, std::span<const Linear* const> linears) {
  StackedLinear out;
  if (const auto sparse = sparse_weights(backend, linears); !sparse.empty()) {
    out.weight = stack_csr(backend, sparse);
  } else if (const auto dense = dense_weights(linears); !dense.empty()) {
    out.weight = stack_dense(backend, dense);
  }
  if (!out.weight) return nullptr;

  for (const Linear* linear : linears) out.rows += linear->weight->out();
  out.bias = make_storage(backend, out.rows, 1, backend.real());
  std::int64_t row = 0;
  for (const Linear* linear : linears) {
    const std::int64_t rows = linear->weight->out();
    if (linear->bias) backend.copy(linear->bias->tensor(), out.bias.tensor.row_range(row, rows));
    row += rows;
  }
  return std::make_shared<const StackedLinear>(std::move(out));
}

}  // namespace bertx
