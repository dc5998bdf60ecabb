// A CSR weight repacked for inference: what spmm computes, faster. The values are a copy: pack again after an update.
#pragma once

#include <cstdint>
#include <memory>

#include "bertx/sparse/csr.h"
#include "bertx/sparse/spmm.h"

namespace bertx::sparse {

/// The columns of a tile where PackOptions names none: for 64 tokens and more.
std::int64_t default_tile_columns(const CsrView<float>& w);

struct PackOptions {
  /// Columns in a tile, 0 for the default, which follows the density. It changes the speed, never a bit of the result.
  std::int64_t tile_columns = 0;
};

/// Immutable, cheap to copy (copies share the arrays) and usable from many threads at once.
class PackedCsr {
 public:
  PackedCsr() = default;
  explicit PackedCsr(const CsrView<float>& w, const PackOptions& options = {});

  std::int64_t rows() const;
  std::int64_t cols() const;
  std::int64_t nnz() const;
  std::int64_t tile_columns() const;
  /// Memory held, in bytes: about 6 a nonzero.
  std::int64_t bytes() const;

  struct Data;
  const Data* data() const { return data_.get(); }

 private:
  std::shared_ptr<const Data> data_;
};

inline PackedCsr pack(const CsrView<float>& w, const PackOptions& options = {}) { return PackedCsr(w, options); }

/// As spmm, to the last bit.
void spmm_packed(const PackedCsr& w, const float* x, std::int64_t ldx, float* y, std::int64_t ldy, std::int64_t tokens,
                 const Epilogue<float>& epilogue = {});

}  // namespace bertx::sparse
