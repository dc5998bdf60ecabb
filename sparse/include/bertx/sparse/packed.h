// A CSR weight repacked for inference: what spmm computes, faster. The values are a copy: pack again after an update.
#pragma once

#include <cstdint>
#include <memory>

#include "bertx/sparse/csr.h"
#include "bertx/sparse/spmm.h"

namespace bertx::sparse {

/// What a packed weight's values are. bf16 values meet activations rounded to bf16, two nonzeros at a time; sums, bias
/// and epilogue stay f32. (bf16.h has the rounding, isa.h the instruction that makes it fast.)
enum class Values { f32, bf16 };

/// The columns of a tile where PackOptions names none: for 64 tokens and more.
std::int64_t default_tile_columns(const CsrView<float>& w, Values values = Values::f32);

struct PackOptions {
  /// Columns in a tile, 0 for the default, which follows the density. It changes the speed, and with f32 values
  /// not a bit of the result; with bf16 values the order of the sums.
  std::int64_t tile_columns = 0;
  Values values = Values::f32;
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
  Values values() const;
  /// Memory held, in bytes: about 6 a nonzero, or 4 with bf16 values.
  std::int64_t bytes() const;

  struct Data;
  const Data* data() const { return data_.get(); }

 private:
  std::shared_ptr<const Data> data_;
};

inline PackedCsr pack(const CsrView<float>& w, const PackOptions& options = {}) { return PackedCsr(w, options); }

/// As spmm, with f32 values to the last bit. A token's result does not depend on the tokens beside it, nor any on the
/// number of threads.
void spmm_packed(const PackedCsr& w, const float* x, std::int64_t ldx, float* y, std::int64_t ldy, std::int64_t tokens,
                 const Epilogue<float>& epilogue = {});

}  // namespace bertx::sparse
