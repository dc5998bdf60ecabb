// Training products over packed tiles: W as packed for the forward product serves the weight gradient too, Wᵀ packed
// beside it serves the input gradient.
#include "bertx/sparse/training.h"

#include <algorithm>

#include "cell_walk.h"
#include "cpu/scratch.h"
#include "cpu/split.h"
#include "packed_layout.h"

namespace bertx::sparse {

struct TrainingCsr::Data {
  std::shared_ptr<PackedCsr::Data> w, transposed;
  std::vector<std::int32_t> sources;  // per value of `transposed`: its place in the CSR
};

namespace {

constexpr std::int64_t kBlockTokens = 64;    // most tokens of a block
constexpr std::int64_t kUpdateGrain = 4096;  // values that are worth a thread

/// Calls body(cell, segment, first entry, length) for the segments of cells [first, last).
template <class Body>
void for_segments(const PackedCsr::Data& w, std::int64_t first, std::int64_t last, const Body& body) {
  for (std::int64_t c = first; c < last; ++c) {
    const CellStart& at = w.cells[static_cast<std::size_t>(c)];
    const CellStart& end = w.cells[static_cast<std::size_t>(c) + 1];
    std::int64_t segment = at.segment, entry = at.entry;
    for (std::int64_t g = at.group; g < end.group; ++g) {
      const SegmentGroup& group = w.groups[static_cast<std::size_t>(g)];
      for (int i = 0; i < group.count; ++i, ++segment, entry += group.length) {
        body(static_cast<std::size_t>(segment), entry, std::int64_t{group.length});
      }
    }
  }
}

/// The same in parallel over all cells; `grain` values are worth a thread.
template <class Body>
void for_all_segments(const PackedCsr::Data& w, const Body& body) {
  const std::int64_t cells = w.tiles * w.panels(), values = static_cast<std::int64_t>(w.values.size());
  const std::int64_t grain = std::max<std::int64_t>(1, cells * kUpdateGrain / std::max<std::int64_t>(1, values));
  parallel_ranges(cells, grain, [&](std::int64_t first, std::int64_t last) { for_segments(w, first, last, body); });
}

}  // namespace

TrainingCsr::TrainingCsr(const CsrView<float>& w, const PackOptions& options) : data_(std::make_shared<Data>()) {
  data_->w = pack_data(w, options);
  const TransposedIndex index = build_transposed(w.rows, w.cols, w.row_start, w.columns);
  // Packing copies the values that it is given: those of W are in the order of its rows, so any will do here.
  const CsrView<float> transposed{w.cols, w.rows, index.column_start.data(), index.row_of.data(), w.values};
  data_->transposed = pack_data(transposed, options);
  data_->sources.resize(static_cast<std::size_t>(w.nnz()));
  for_all_segments(*data_->transposed, [&](std::size_t segment, std::int64_t entry, std::int64_t length) {
    std::copy_n(index.position.data() + data_->transposed->places[segment], length, data_->sources.data() + entry);
  });
  data_->transposed->places = {};
  update(w.values);
}

void TrainingCsr::update(const float* values) {
  for_all_segments(*data_->w, [&](std::size_t segment, std::int64_t entry, std::int64_t length) {
    std::copy_n(values + data_->w->places[segment], length, data_->w->values.data() + entry);
  });
  float* const transposed = data_->transposed->values.data();
  const std::int32_t* const sources = data_->sources.data();
  parallel_ranges(nnz(), kUpdateGrain, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t e = first; e < last; ++e) transposed[e] = values[sources[e]];
  });
}

std::int64_t TrainingCsr::rows() const { return data_ ? data_->w->rows : 0; }
std::int64_t TrainingCsr::cols() const { return data_ ? data_->w->cols : 0; }
std::int64_t TrainingCsr::nnz() const { return data_ ? static_cast<std::int64_t>(data_->w->values.size()) : 0; }
std::int64_t TrainingCsr::bytes() const {
  if (!data_) return 0;
  return data_->w->bytes() + data_->transposed->bytes() +
         static_cast<std::int64_t>(data_->sources.capacity() * sizeof(std::int32_t));
}

// y [rows, tokens] = W x [cols, tokens]
void spmm(const TrainingCsr& w, const float* x, std::int64_t ldx, float* y, std::int64_t ldy, std::int64_t tokens) {
  if (w.data() == nullptr) return;
  multiply_packed(*w.data()->w, x, ldx, y, ldy, tokens, {}, false);
}

// dx [cols, tokens] = Wᵀ dy [rows, tokens]  (+ dx)
void spmm_transposed(const TrainingCsr& w, const float* dy, std::int64_t lddy, float* dx, std::int64_t lddx,
                     std::int64_t tokens, bool accumulate) {
  if (w.data() == nullptr) return;
  multiply_packed(*w.data()->transposed, dy, lddy, dx, lddx, tokens, {}, accumulate);
}

namespace {

/// One call of sddmm.
struct WeightGradient {
  const PackedCsr::Data& w;
  const Kernels& kernels;
  const TokenBlocks blocks;
  const float* dy;
  std::int64_t lddy;
  const float* x;
  std::int64_t ldx;
  float* dvalues;

  /// The rows of panels [first, last), in one thread. Passes are outermost, so that their values stay in the cache,
  /// too; blocks follow each other in order: all add to the same values.
  void run(std::int64_t first, std::int64_t last) const {
    for_passes(w, first, last, [&](std::int64_t begin, std::int64_t end, std::int64_t, std::int64_t) {
      for (std::int64_t b = 0; b < blocks.count; ++b) add_block(b, begin, end);
    });
  }

 private:
  void add_block(std::int64_t b, std::int64_t first, std::int64_t last) const {
    const std::int64_t count = blocks.size(b), width = kernels.block_width(count);
    const std::int64_t first_row = w.first_row(first), rows = w.first_row(last) - first_row;
    const float* gradient = dy + first_row * lddy + blocks.first(b);
    std::int64_t stride = lddy;
    if (count != width) {  // the kernel reads whole vectors, and what lies behind the tokens may be no numbers
      float* const filled = scratch(Scratch::sums, rows * width);
      kernels.pack_tokens(gradient, lddy, rows, count, width, filled);
      gradient = filled;
      stride = width;
    }
    const auto pack_tile = [&](std::int64_t tile, float* block) {
      const float* const source = x + w.first_column(tile) * ldx + blocks.first(b);
      kernels.pack_tokens(source, ldx, w.columns_of(tile), count, width, block);
    };
    const auto add_cell = [&](std::int64_t tile, std::int64_t panel, const float* block) {
      kernels.sddmm_cell(w.cell(tile, panel), w.places.data() + w.start(tile, panel).segment,
                         gradient + (w.first_row(panel) - first_row) * stride, stride, block, width, dvalues);
    };
    walk_cells(w, first, last, width, pack_tile, add_cell);
  }
};

}  // namespace

// dvalues [nnz] += the entries of dy [rows, tokens] xᵀ [tokens, cols] on the pattern
void sddmm(const TrainingCsr& pattern, const float* dy, std::int64_t lddy, const float* x, std::int64_t ldx,
           std::int64_t tokens, float* dvalues) {
  if (tokens == 0 || pattern.rows() == 0) return;
  const Kernels& kernels = active_kernels();
  const PackedCsr::Data& w = *pattern.data()->w;
  const TokenBlocks blocks(tokens, std::min(kBlockTokens, kernels.max_width), kernels.lanes);
  const WeightGradient product{w, kernels, blocks, dy, lddy, x, ldx, dvalues};
  const std::int64_t panels = w.panels(), work = (pattern.nnz() + w.rows * kRowCost) * tokens;
  split_rows(panels, work, [&](std::int64_t part, std::int64_t parts) {
    product.run(panels * part / parts, panels * (part + 1) / parts);
  });
}

}  // namespace bertx::sparse
