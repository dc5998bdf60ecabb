#include <algorithm>

#include "bertx/block_masked_weight.h"
#include "weights/host_copy.h"
#include "weights/product.h"

namespace bertx {
namespace {

// [n, blocks] with 1 where an element is in a block. Sums over blocks and the way back are products with it.
Storage members_of(Backend& backend, std::int64_t n, std::int64_t size) {
  const std::int64_t blocks = blocks_of(n, size);
  std::vector<float> host(static_cast<std::size_t>(n * blocks));
  for (std::int64_t i = 0; i < n; ++i) host[static_cast<std::size_t>(i * blocks + i / size)] = 1.0f;
  const Storage members = make_storage(backend, n, blocks, backend.real());
  if (!host.empty()) backend.upload(view(host.data(), n, blocks, DType::f32), members.tensor);
  return members;
}

}  // namespace

BlockMaskedWeight::BlockMaskedWeight(Backend& backend, std::shared_ptr<Parameter> w, BlockSize block,
                                     std::shared_ptr<Parameter> scores, std::shared_ptr<Parameter> bias)
    : w_(std::move(w)), scores_(std::move(scores)), bias_(std::move(bias)), block_(block) {
  const std::int64_t rows = block_rows(), cols = block_cols();
  const DType real = backend.real();
  scores_->decay = false;
  mask_ = make_storage(backend, rows, cols, DType::u8);
  backend.fill(mask_.tensor, 1.0);
  if (block_.height > 1) row_blocks_ = members_of(backend, out(), block_.height);
  if (block_.width > 1) col_blocks_ = members_of(backend, in(), block_.width);
  kept_ = make_storage(backend, rows, cols, real);
  gates_ = make_storage(backend, out(), in(), real);
  effective_ = make_storage(backend, out(), in(), real);
  if (bias_) {
    for (Storage* vector : {&dropped_, &correction_, &masked_bias_}) *vector = make_storage(backend, out(), 1, real);
  }
  refresh(backend);
}

// y [out, T] = activation((W∘M) x [in, T] + bias) + residual. Who adds the bias afterwards adds the whole of it, which
// is made up for here.
void BlockMaskedWeight::apply(Exec& exec, Tensor x, Tensor y, const Epilogue& epilogue) const {
  exec.backend.gemm(Trans::no, Trans::no, effective_.tensor, x, y, Write::overwrite);
  Epilogue own = epilogue;
  if (bias_) own.bias = epilogue.bias.empty() ? correction_.tensor : masked_bias_.tensor;
  apply_epilogue(exec.backend, own, y);
}

// G [out, in] = dy xᵀ; dW += M∘G; dS of a block += Σ W∘G; dx = (W∘M)ᵀ dy
void BlockMaskedWeight::apply_grad(Exec& exec, Tensor x, Tensor dy, Tensor dx, Write write) {
  const Tensor dw = w_->gradient(), dscores = score_gradient();
  const Arena::Mark mark = exec.arena.mark();
  if (!dw.empty() || !dscores.empty()) {
    const Tensor g = exec.take(out(), in());
    exec.backend.gemm(Trans::no, Trans::yes, dy, x, g, Write::overwrite);
    if (!dw.empty()) add_product(exec.backend, g, gates_.tensor, dw);
    if (!dscores.empty()) {
      const Tensor movement = exec.take(out(), in());
      set_product(exec.backend, g, w_->tensor(), movement);
      add_block_sums(exec, movement, dscores);
    }
  }
  if (bias_) add_bias_grad(exec, dy);
  exec.arena.rewind(mark);
  if (!dx.empty()) exec.backend.gemm(Trans::yes, Trans::no, effective_.tensor, dy, dx, write);
}

void BlockMaskedWeight::add_bias_grad(Exec& exec, Tensor dy) {
  const Tensor dbias = bias_->gradient(), dscores = score_gradient();
  const bool scored = !dscores.empty() && block_cols() == 1;
  if (dbias.empty() && !scored) return;
  Backend& backend = exec.backend;
  const auto vector = [&] { return view(exec.take(1, out()).data, out(), 1, backend.real()); };
  const Tensor sums = vector();
  backend.fill(sums, 0.0);
  backend.bias_grad(dy, sums);
  if (!dbias.empty()) add_product(backend, sums, dropped_.tensor, dbias);
  if (scored) {
    const Tensor movement = vector();
    set_product(backend, sums, bias_->tensor(), movement);
    if (row_blocks_.tensor.empty()) {
      backend.add(movement, dscores);
    } else {
      backend.gemm(Trans::yes, Trans::no, row_blocks_.tensor, movement, dscores, Write::add);
    }
  }
}

// sums [block_rows, block_cols] += those of x [out, in]
void BlockMaskedWeight::add_block_sums(Exec& exec, Tensor x, Tensor sums) const {
  Tensor bands = x;
  if (!row_blocks_.tensor.empty()) {
    bands = exec.take(block_rows(), in());
    exec.backend.gemm(Trans::yes, Trans::no, row_blocks_.tensor, x, bands, Write::overwrite);
  }
  if (col_blocks_.tensor.empty()) {
    exec.backend.add(bands, sums);
  } else {
    exec.backend.gemm(Trans::no, Trans::no, bands, col_blocks_.tensor, sums, Write::add);
  }
}

Tensor BlockMaskedWeight::score_gradient() const {
  const Tensor g = scores_->gradient();
  return g.empty() ? g : view(g.data, block_rows(), block_cols(), g.dtype);
}

void BlockMaskedWeight::visit(const std::string& path, const Visit& parameter) {
  parameter(path, *w_);
  parameter(path + ".scores", *scores_);
}

void BlockMaskedWeight::structure(const std::string& path, const VisitStructure& part) { part(path + ".mask", mask_); }

void BlockMaskedWeight::refresh(Backend& backend) {
  // 1. M [out, in] from the bits of its blocks.
  backend.fill(gates_.tensor, 1.0);
  const Tensor ones = view(gates_.tensor.data, block_rows(), block_cols(), gates_.tensor.dtype);
  backend.mask_apply(ones, mask_.tensor, kept_.tensor);
  Storage bands = kept_;
  if (!col_blocks_.tensor.empty()) {
    bands = make_storage(backend, block_rows(), in(), backend.real());
    backend.gemm(Trans::no, Trans::yes, kept_.tensor, col_blocks_.tensor, bands.tensor, Write::overwrite);
  }
  if (row_blocks_.tensor.empty()) {
    backend.copy(bands.tensor, gates_.tensor);
  } else {
    backend.gemm(Trans::no, Trans::no, row_blocks_.tensor, bands.tensor, gates_.tensor, Write::overwrite);
  }
  set_product(backend, w_->tensor(), gates_.tensor, effective_.tensor);
  if (!bias_) return;

  // 2. A value of the bias goes with the last block beside it.
  const std::vector<std::uint8_t> mask = host_mask(backend);
  std::vector<float> dropped(static_cast<std::size_t>(out()));
  for (std::int64_t i = 0; i < out(); ++i) {
    const auto band = mask.begin() + i / block_.height * block_cols();
    const bool kept = std::any_of(band, band + block_cols(), [](std::uint8_t bit) { return bit != 0; });
    dropped[static_cast<std::size_t>(i)] = kept ? 0.0f : -1.0f;
  }
  if (!dropped.empty()) backend.upload(view(dropped.data(), out(), 1, DType::f32), dropped_.tensor);
  set_product(backend, bias_->tensor(), dropped_.tensor, correction_.tensor);
  backend.copy(bias_->tensor(), masked_bias_.tensor);
  backend.add(correction_.tensor, masked_bias_.tensor);
}

void BlockMaskedWeight::materialize(Backend& backend, Tensor out_matrix) const {
  backend.copy(effective_.tensor, out_matrix);
}

std::size_t BlockMaskedWeight::derived_bytes() const {
  std::size_t bytes = 0;
  for (const Storage* part :
       {&row_blocks_, &col_blocks_, &kept_, &gates_, &effective_, &dropped_, &correction_, &masked_bias_}) {
    bytes += part->buffer.bytes;
  }
  return bytes;
}

std::vector<std::uint8_t> BlockMaskedWeight::host_mask(Backend& backend) const {
  std::vector<std::uint8_t> host(static_cast<std::size_t>(mask_.tensor.size()));
  if (!host.empty()) backend.download(mask_.tensor, view(host.data(), block_rows(), block_cols(), DType::u8));
  return host;
}

std::int64_t BlockMaskedWeight::size_of_block(std::int64_t block) const {
  const std::int64_t row = block / block_cols() * block_.height, col = block % block_cols() * block_.width;
  return std::min(block_.height, out() - row) * std::min(block_.width, in() - col);
}

std::int64_t BlockMaskedWeight::nonzeros(Backend& backend) const {
  const std::vector<std::uint8_t> mask = host_mask(backend);
  std::int64_t kept = 0;
  for (std::size_t n = 0; n < mask.size(); ++n) kept += mask[n] ? size_of_block(static_cast<std::int64_t>(n)) : 0;
  return kept;
}

}  // namespace bertx
