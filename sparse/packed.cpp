#include "bertx/sparse/packed.h"

#include "bertx/sparse/reference.h"

namespace bertx::sparse {

struct PackedCsr::Data {
  CsrMatrix<float> matrix;
};

PackedCsr::PackedCsr(const CsrView<float>& w, const PackOptions&) {
  CsrMatrix<float> m{w.rows, w.cols, {w.row_start, w.row_start + w.rows + 1}, {w.columns, w.columns + w.nnz()},
                     {w.values, w.values + w.nnz()}};
  data_ = std::make_shared<const Data>(Data{std::move(m)});
}

std::int64_t PackedCsr::rows() const { return data_->matrix.rows; }
std::int64_t PackedCsr::cols() const { return data_->matrix.cols; }
std::int64_t PackedCsr::nnz() const { return data_->matrix.view().nnz(); }
std::int64_t PackedCsr::tile_columns() const { return cols(); }
std::int64_t PackedCsr::bytes() const { return nnz() * 8; }

void spmm_packed(const PackedCsr& w, const float* x, std::int64_t ldx, float* y, std::int64_t ldy, std::int64_t tokens,
                 const float* bias, Epilogue epilogue) {
  spmm_reference(w.data()->matrix.view(), x, ldx, y, ldy, tokens, bias, epilogue);
}

}  // namespace bertx::sparse
