// The product with a packed weight (packed_layout.cpp says what it looks like): a block of tokens at a time, tile after
// tile of its features.
#include "bertx/sparse/packed.h"

#include <algorithm>

#include "cell_walk.h"
#include "cpu/finish.h"
#include "cpu/kernels.h"
#include "cpu/pair_kernels.h"
#include "cpu/scratch.h"
#include "cpu/split.h"
#include "packed_layout.h"

namespace bertx::sparse {
namespace {

constexpr std::int64_t kBlockTokens = 64;  // most tokens of a block

/// What a product does with float values.
struct FloatForm {
  const PackedCsr::Data& w;
  const Kernels& kernels;

  TokenBlocks blocks(std::int64_t tokens) const {
    return {tokens, std::min(kBlockTokens, kernels.max_width), kernels.lanes};
  }
  std::int64_t block_width(std::int64_t tokens) const { return kernels.block_width(tokens); }
  void pack_tokens(const float* x, std::int64_t ldx, std::int64_t features, std::int64_t tokens, std::int64_t width,
                   float* block) const {
    kernels.pack_tokens(x, ldx, features, tokens, width, block);
  }
  void spmm_cell(std::int64_t tile, std::int64_t panel, const float* block, std::int64_t width, const float* bias,
                 float* y, std::int64_t ldy, bool first) const {
    kernels.spmm_cell(w.cell(tile, panel), block, width, bias, first, y, ldy);
  }
};

/// And with bf16 values, pair by pair. A block takes at most as much memory as floats would.
struct PairForm {
  const PackedCsr::Data& w;
  const PairKernels& kernels;

  TokenBlocks blocks(std::int64_t tokens) const { return {tokens, kernels.block_tokens, kernels.lanes}; }
  std::int64_t block_width(std::int64_t tokens) const { return kernels.block_width(tokens); }
  void pack_tokens(const float* x, std::int64_t ldx, std::int64_t features, std::int64_t tokens, std::int64_t width,
                   float* block) const {
    kernels.pack_tokens(x, ldx, features, tokens, width, block);
  }
  void spmm_cell(std::int64_t tile, std::int64_t panel, const float* block, std::int64_t width, const float* bias,
                 float* y, std::int64_t ldy, bool first) const {
    kernels.spmm_cell(w.pair_cell(tile, panel), block, width, bias, first, y, ldy);
  }
};

/// One call of spmm_packed.
template <class Form>
struct PackedProduct {
  const PackedCsr::Data& w;
  const Form form;
  const Kernels& kernels;
  const TokenBlocks blocks;
  const float* x;
  std::int64_t ldx;
  float* y;
  std::int64_t ldy;
  const Epilogue<float>& epilogue;
  bool accumulate;

  /// Panels [first, last) of the rows, in one thread, for blocks [first_block, last_block).
  void multiply(std::int64_t first_block, std::int64_t last_block, std::int64_t first, std::int64_t last) const {
    for (std::int64_t b = first_block; b < last_block; ++b) multiply_block(b, first, last);
  }

 private:
  void multiply_block(std::int64_t b, std::int64_t first, std::int64_t last) const {
    const std::int64_t first_row = w.first_row(first), rows = w.first_row(last) - first_row;
    const std::int64_t count = blocks.size(b), width = form.block_width(count);
    float* const target = y + first_row * ldy + blocks.first(b);
    // A block that does not fill its width keeps its sums in memory of their own: y has no room for its tail.
    const bool whole = count == width;
    float* const sums = whole ? target : scratch(Scratch::sums, rows * width);
    const std::int64_t stride = whole ? ldy : width;
    if (!whole && accumulate) kernels.pack_tokens(target, ldy, rows, count, width, sums);
    const auto pack_tile = [&](std::int64_t tile, float* block) {
      const float* const source = x + w.first_column(tile) * ldx + blocks.first(b);
      form.pack_tokens(source, ldx, w.columns_of(tile), count, width, block);
    };
    const auto add_cell = [&](std::int64_t tile, std::int64_t panel, const float* block) {
      const std::int64_t row = w.first_row(panel);
      const float* const bias = epilogue.bias != nullptr ? epilogue.bias + row : nullptr;
      form.spmm_cell(tile, panel, block, width, bias, sums + (row - first_row) * stride, stride,
                     tile == 0 && !accumulate);
      if (whole && tile + 1 == w.tiles) finish(row, w.first_row(panel + 1), b);
    };
    walk_cells(w, first, last, width, pack_tile, add_cell);
    if (whole) return;
    kernels.unpack_tokens(sums, width, rows, count, target, ldy);
    finish(first_row, first_row + rows, b);
  }

  void finish(std::int64_t first_row, std::int64_t last_row, std::int64_t b) const {
    finish_rows(kernels, epilogue, first_row, last_row, blocks.first(b), blocks.size(b), y, ldy);
  }
};

template <class Form>
void multiply(const PackedCsr::Data& w, const Form& form, const float* x, std::int64_t ldx, float* y, std::int64_t ldy,
              std::int64_t tokens, const Epilogue<float>& epilogue, bool accumulate) {
  const PackedProduct<Form> product{w, form, active_kernels(), form.blocks(tokens), x, ldx,
                                    y, ldy,  epilogue,         accumulate};
  const std::int64_t panels = w.panels(), work = (w.nnz + w.rows * kRowCost) * tokens;
  split_work(product.blocks.count, panels, work,
             [&](std::int64_t first, std::int64_t last, std::int64_t part, std::int64_t parts) {
               product.multiply(first, last, panels * part / parts, panels * (part + 1) / parts);
             });
}

}  // namespace

void spmm_packed(const PackedCsr& w, const float* x, std::int64_t ldx, float* y, std::int64_t ldy, std::int64_t tokens,
                 const Epilogue<float>& epilogue) {
  if (w.data() != nullptr) multiply_packed(*w.data(), x, ldx, y, ldy, tokens, epilogue, false);
}

void multiply_packed(const PackedCsr::Data& w, const float* x, std::int64_t ldx, float* y, std::int64_t ldy,
                     std::int64_t tokens, const Epilogue<float>& epilogue, bool accumulate) {
  if (tokens == 0 || w.rows == 0) return;
  if (w.kind == Values::bf16) {
    multiply(w, PairForm{w, active_pair_kernels()}, x, ldx, y, ldy, tokens, epilogue, accumulate);
  } else {
    multiply(w, FloatForm{w, active_kernels()}, x, ldx, y, ldy, tokens, epilogue, accumulate);
  }
}

}  // namespace bertx::sparse
