#include "bertx/sparse/csr.h"

#include <vector>

#include "bertx/weight.h"
#include "weights/host_copy.h"

namespace bertx {
CsrWeight::CsrWeight(std::int64_t out, std::int64_t in, Storage row_start, Storage columns,
                     std::shared_ptr<Parameter> values)
    : row_start_(std::move(row_start)), columns_(std::move(columns)), values_(std::move(values)) {
  pattern_ = {out, in, values_->tensor().size(), row_start_.tensor, columns_.tensor, {}, {}, {}};
}

std::shared_ptr<CsrWeight> CsrWeight::from_dense(Backend& backend, Tensor w, Tensor mask) {
  // Through double: exact for every real type, and pruning is no inner loop.
  const std::vector<double> dense = downloaded<double>(backend, w);
  const sparse::CsrMatrix<double> csr =
      mask.empty() ? sparse::csr_from_dense(dense.data(), w.cols, w.rows, w.cols)
                   : sparse::csr_from_masked(dense.data(), w.cols, downloaded<std::uint8_t>(backend, mask).data(),
                                             w.cols, w.rows, w.cols);
  auto values = std::make_shared<Parameter>();
  values->value = stored(backend, csr.values, backend.real());
  return std::make_shared<CsrWeight>(w.rows, w.cols, stored(backend, csr.row_start), stored(backend, csr.columns),
                                     values);
}

// y [out, T] = activation(W x [in, T] + bias) + residual
void CsrWeight::apply(Exec& exec, Tensor x, Tensor y, const Epilogue& epilogue) const {
  if (prepared_) return exec.backend.apply(*prepared_, x, y, epilogue);
  exec.backend.spmm(pattern_, values_->tensor(), x, y);
  apply_epilogue(exec.backend, epilogue, y);
}

// dvalues += entries of dy xᵀ on the pattern; dx [in, T] = Wᵀ dy
void CsrWeight::apply_grad(Exec& exec, Tensor x, Tensor dy, Tensor dx, Write write) {
  prepare_training(exec.backend);  // a gradient says that there will be updates
  if (!values_->gradient().empty()) exec.backend.sddmm(pattern_, dy, x, values_->gradient());
  if (!dx.empty()) exec.backend.spmm_transposed(pattern_, values_->tensor(), dy, dx, write);
}

void CsrWeight::structure(const std::string& path, const VisitStructure& part) {
  part(path + ".crow_indices", row_start_);
  part(path + ".col_indices", columns_);
}

void CsrWeight::refresh(Backend& backend) {
  prepared_.reset();
  if (pattern_.prepared) backend.update_values(pattern_, values_->tensor());
  if (!pattern_.column_start.empty()) return;
  const std::vector<std::int32_t> row_start = downloaded<std::int32_t>(backend, pattern_.row_start);
  const std::vector<std::int32_t> columns = downloaded<std::int32_t>(backend, pattern_.columns);
  const sparse::TransposedIndex index = sparse::build_transposed(out(), in(), row_start.data(), columns.data());
  column_start_ = stored(backend, index.column_start);
  row_of_ = stored(backend, index.row_of);
  position_ = stored(backend, index.position);
  pattern_.column_start = column_start_.tensor;
  pattern_.row_of = row_of_.tensor;
  pattern_.position = position_.tensor;
}

void CsrWeight::prepare_training(Backend& backend) {
  if (!pattern_.prepared) pattern_.prepared = backend.prepare_pattern(pattern_, values_->tensor());
}

void CsrWeight::prepare(Backend& backend) {
  pattern_.prepared.reset();
  if (!prepared_) prepared_ = backend.prepare_csr(pattern_, values_->tensor());
}

void CsrWeight::materialize(Backend& backend, Tensor out_matrix) const {
  const std::vector<std::int32_t> row_start = downloaded<std::int32_t>(backend, pattern_.row_start);
  const std::vector<std::int32_t> columns = downloaded<std::int32_t>(backend, pattern_.columns);
  const std::vector<double> values = downloaded<double>(backend, values_->tensor());
  std::vector<double> dense(static_cast<std::size_t>(out() * in()));
  const sparse::CsrView<double> csr{out(), in(), row_start.data(), columns.data(), values.data()};
  sparse::csr_to_dense(csr, dense.data(), in());
  if (!dense.empty()) backend.upload(view(dense.data(), out(), in(), DType::f64), out_matrix);
}

}  // namespace bertx
