// A CSR weight packed for training: a fixed pattern whose values change with every update. Forward, input gradient and
// weight gradient run over tiles that stay in the first-level cache, like inference (bertx/sparse/packed.h).
#pragma once

#include <cstdint>
#include <memory>

#include "bertx/sparse/csr.h"
#include "bertx/sparse/packed.h"

namespace bertx::sparse {

/// Holds W and Wᵀ packed, and where each packed value comes from. Products may run in many threads at once, but not
/// beside update().
class TrainingCsr {
 public:
  TrainingCsr() = default;
  explicit TrainingCsr(const CsrView<float>& w, const PackOptions& options = {});

  /// Takes over new values, in the order of the CSR: about a nanosecond each.
  void update(const float* values);

  std::int64_t rows() const;
  std::int64_t cols() const;
  std::int64_t nnz() const;
  /// Memory held, in bytes: about 16 a nonzero.
  std::int64_t bytes() const;

  struct Data;
  const Data* data() const { return data_.get(); }

 private:
  std::shared_ptr<Data> data_;
};

/// As spmm, spmm_transposed and sddmm. The first two give the same bits. In sddmm a value gets one sum a block of
/// tokens, block after block; the blocks follow from the tokens alone, so no result depends on the number of threads.
void spmm(const TrainingCsr& w, const float* x, std::int64_t ldx, float* y, std::int64_t ldy, std::int64_t tokens);
void spmm_transposed(const TrainingCsr& w, const float* dy, std::int64_t lddy, float* dx, std::int64_t lddx,
                     std::int64_t tokens, bool accumulate = false);
void sddmm(const TrainingCsr& pattern, const float* dy, std::int64_t lddy, const float* x, std::int64_t ldx,
           std::int64_t tokens, float* dvalues);

}  // namespace bertx::sparse
