#include "pruning/fisher_kernels.h"

namespace bertx::compress::BERTX_ISA_NAMESPACE {
namespace {

// Wider than some registers: the compiler takes as many as it needs.
typedef float Lanes __attribute__((vector_size(64), aligned(4), may_alias));
constexpr std::int64_t lanes = 16;

// Columns chunk · 16 … of `Rows` successive rows from i on, which lie `length` floats apart.
template <int Rows>
void add_to_rows(const float* panel, std::int64_t count, std::int64_t stride, std::int64_t i, std::int64_t chunk,
                 std::int64_t length, float* rows) {
  Lanes sums[Rows] = {};
  for (std::int64_t k = 0; k < count; ++k) {
    const float* const v = panel + k * stride;
    const Lanes columns = *reinterpret_cast<const Lanes*>(v + chunk * lanes);
    for (int r = 0; r < Rows; ++r) sums[r] += v[i + r] * columns;
  }
  for (int r = 0; r < Rows; ++r) *reinterpret_cast<Lanes*>(rows + r * length + chunk * lanes) += sums[r];
}

}  // namespace

void add_outer_products(const float* panel, std::int64_t count, std::int64_t stride, std::int64_t n, float* triangle) {
  for (std::int64_t i = 0; i < n;) {
    const std::int64_t chunks = i / lanes + 1, length = chunks * lanes, rows = n - i >= 4 ? 4 : 1;
    for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
      if (rows == 4) {
        add_to_rows<4>(panel, count, stride, i, chunk, length, triangle);
      } else {
        add_to_rows<1>(panel, count, stride, i, chunk, length, triangle);
      }
    }
    triangle += rows * length;
    i += rows;
  }
}

}  // namespace bertx::compress::BERTX_ISA_NAMESPACE
