// The float products: tokens in blocks whose x stays in the inner caches, rows or blocks over threads.
#include "bertx/sparse/spmm.h"

#include <algorithm>

#include "bertx/sparse/parallel.h"
#include "cpu/finish.h"
#include "cpu/kernels.h"
#include "cpu/scratch.h"
#include "cpu/split.h"

namespace bertx::sparse {
namespace {

// For a block of x: measured best, and more than the first-level cache holds, since narrower blocks cost more
// broadcasts of weights.
constexpr std::int64_t kCacheBytes = 128 << 10;
constexpr std::int64_t kRowCost = 4;  // a row's own cost, in nonzeros

/// Tokens a block of x [features, ·] may have.
TokenBlocks token_blocks(const Kernels& kernels, std::int64_t features, std::int64_t tokens) {
  const std::int64_t fitting = kCacheBytes / std::max<std::int64_t>(1, features * std::int64_t{sizeof(float)});
  const std::int64_t most = std::clamp(fitting / kernels.lanes * kernels.lanes, 2 * kernels.lanes, kernels.max_width);
  return TokenBlocks(tokens, most, kernels.lanes);
}

/// Calls body(rows, block, width, first token, tokens) for every part of w's rows and every token block of
/// x [w.cols, tokens].
template <class Body>
void for_blocks(const CsrView<float>& w, const float* x, std::int64_t ldx, std::int64_t tokens, const Body& body) {
  if (tokens == 0 || w.rows == 0) return;
  const Kernels& kernels = active_kernels();
  const TokenBlocks blocks = token_blocks(kernels, w.cols, tokens);
  const std::int64_t work = (w.nnz() + w.rows * kRowCost) * tokens;
  split_work(blocks.count, w.rows, work,
             [&](std::int64_t first, std::int64_t last, std::int64_t part, std::int64_t parts) {
               RowRange rows{w.row_start, w.columns, w.values, 0, 0};
               rows.first = cost_split(w.row_start, w.rows, kRowCost, part, parts);
               rows.last = cost_split(w.row_start, w.rows, kRowCost, part + 1, parts);
               float* const block = scratch(Scratch::block, w.cols * kernels.block_width(blocks.length));
               for (std::int64_t b = first; b < last; ++b) {
                 const std::int64_t width = kernels.block_width(blocks.size(b));
                 kernels.pack_tokens(x + blocks.first(b), ldx, w.cols, blocks.size(b), width, block);
                 body(kernels, rows, block, width, blocks.first(b), blocks.size(b));
               }
             });
}

}  // namespace

void spmm(const CsrView<float>& w, const float* x, std::int64_t ldx, float* y, std::int64_t ldy, std::int64_t tokens,
          const Epilogue<float>& epilogue) {
  for_blocks(w, x, ldx, tokens,
             [&](const Kernels& kernels, const RowRange& rows, const float* block, std::int64_t width,
                 std::int64_t first, std::int64_t count) {
               kernels.spmm_rows(rows, block, width, count, epilogue.bias, false, y + first, ldy);
               finish_rows(kernels, epilogue, rows.first, rows.last, first, count, y, ldy);
             });
}

void spmm_transposed(const CsrView<float>& w, const TransposedView& t, const float* dy, std::int64_t lddy, float* dx,
                     std::int64_t lddx, std::int64_t tokens, bool accumulate) {
  // Once a call the values are put into the transposed order; then this is spmm of the transposed matrix.
  float* const values = scratch(Scratch::values, w.nnz());
  parallel_ranges(w.nnz(), 1 << 14, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t n = first; n < last; ++n) values[n] = w.values[t.positions[n]];
  });
  const CsrView<float> transposed{w.cols, w.rows, t.column_start, t.rows, values};
  for_blocks(
      transposed, dy, lddy, tokens,
      [&](const Kernels& kernels, const RowRange& rows, const float* block, std::int64_t width, std::int64_t first,
          std::int64_t count) { kernels.spmm_rows(rows, block, width, count, nullptr, accumulate, dx + first, lddx); });
}

void sddmm(const CsrView<float>& pattern, const float* dy, std::int64_t lddy, const float* x, std::int64_t ldx,
           std::int64_t tokens, float* dvalues) {
  if (tokens == 0 || pattern.rows == 0) return;
  const Kernels& kernels = active_kernels();
  const TokenBlocks blocks = token_blocks(kernels, pattern.cols, tokens);
  // Every block adds to the same values, so only rows are shared out; blocks follow each other in order.
  const std::int64_t work = (pattern.nnz() + pattern.rows * kRowCost) * tokens;
  const auto rows_of_part = [&](std::int64_t part, std::int64_t parts) {
    RowRange rows{pattern.row_start, pattern.columns, nullptr, 0, 0};
    rows.first = cost_split(pattern.row_start, pattern.rows, kRowCost, part, parts);
    rows.last = cost_split(pattern.row_start, pattern.rows, kRowCost, part + 1, parts);
    float* const block = scratch(Scratch::block, pattern.cols * kernels.block_width(blocks.length));
    for (std::int64_t b = 0; b < blocks.count; ++b) {
      const std::int64_t width = kernels.block_width(blocks.size(b));
      kernels.pack_tokens(x + blocks.first(b), ldx, pattern.cols, blocks.size(b), width, block);
      kernels.sddmm_rows(rows, dy + blocks.first(b), lddy, block, width, blocks.size(b), dvalues);
    }
  };
  split_rows(pattern.rows, work, rows_of_part);
}

}  // namespace bertx::sparse
