// Zeros that lie in dense matrices, taken out where that makes the file smaller.
#include <algorithm>
#include <unordered_map>

#include "bertx/compress.h"

namespace bertx::compress {
namespace {

/// Bytes of the CSR form of a float32 matrix in a file: columns as integers or as a bitmap (engine/io/FORMAT.md).
std::int64_t csr_bytes(std::int64_t rows, std::int64_t cols, std::int64_t nonzeros) {
  const std::int64_t index = cols > 32768 ? 4 : 2, shape = 16, value = 4;
  return shape + value * nonzeros + std::min(rows * ((cols + 7) / 8), 4 * (rows + 1) + index * nonzeros);
}

}  // namespace

void compact_zeros(Backend& backend, Model& model) {
  std::unordered_map<const LinearWeight*, std::shared_ptr<LinearWeight>> made;
  model.visit_linears([&](const std::string&, Linear& linear) {
    const auto* dense = dynamic_cast<const DenseWeight*>(linear.weight.get());
    if (!dense) return;
    std::shared_ptr<LinearWeight>& compact = made[dense];
    if (!compact) {
      const std::int64_t rows = dense->out(), cols = dense->in(), nonzeros = dense->nonzeros(backend);
      compact = linear.weight;
      if (csr_bytes(rows, cols, nonzeros) < 4 * rows * cols) {
        compact = CsrWeight::from_dense(backend, dense->parameter()->tensor());
        compact->refresh(backend);
      }
    }
    linear.weight = compact;
  });
}

}  // namespace bertx::compress
