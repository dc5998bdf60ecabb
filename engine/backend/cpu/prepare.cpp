// Weights for inference: the forms that a matrix can take, from which the tuner chooses.
#include <algorithm>
#include <vector>

#include "backend/cpu/cpu.h"
#include "backend/cpu/onednn.h"
#include "backend/cpu/tuner.h"
#include "bertx/arena.h"
#include "bertx/error.h"
#include "bertx/sparse/packed.h"

namespace bertx {

namespace {

// Densities from which a dense product may win, and up to which CSR is taken unmeasured. On AVX-512, 128 tokens, the
// crossover is near 0.6.
constexpr double kDenseMayWin = 0.25, kSparseByRule = 0.5;

/// y [rows, tokens] = activation(y), as a sparse product calls it on what it has just computed.
template <cpu::Pointwise kActivation>
void activate(float* y, std::int64_t ldy, std::int64_t rows, std::int64_t tokens) {
  cpu::active_kernels().bias_activation({y, ldy}, nullptr, kActivation, {y, ldy}, {0, rows}, tokens);
}

sparse::Activation<float> activation_function(Activation activation) {
  switch (activation) {
    case Activation::none: return nullptr;
    case Activation::gelu_erf: return activate<cpu::Pointwise::gelu_erf>;
    case Activation::gelu_tanh: return activate<cpu::Pointwise::gelu_tanh>;
    case Activation::relu: return activate<cpu::Pointwise::relu>;
    case Activation::tanh: return activate<cpu::Pointwise::tanh>;
  }
  return nullptr;
}

sparse::Epilogue<float> inside(const Epilogue& epilogue) {
  return {epilogue.bias.as<float>(), activation_function(epilogue.activation), epilogue.residual.as<float>(),
          epilogue.residual.stride};
}

class PackedWeight final : public cpu::Weight {
 public:
  explicit PackedWeight(sparse::PackedCsr weight) : weight_(std::move(weight)) {}
  std::string_view kernel() const override {
    return weight_.values() == sparse::Values::bf16 ? "csr-packed-bf16" : "csr-packed";
  }
  std::size_t bytes() const override { return static_cast<std::size_t>(weight_.bytes()); }
  // Y [rows, T] = activation(W X [cols, T] + bias) + residual
  void apply(Tensor x, Tensor y, const Epilogue& epilogue) const override {
    sparse::spmm_packed(weight_, x.as<float>(), x.stride, y.as<float>(), y.stride, x.cols, inside(epilogue));
  }

 private:
  sparse::PackedCsr weight_;
};

/// A dense matrix of its own, by the backend's gemm.
class DenseForm final : public cpu::Weight {
 public:
  DenseForm(CpuBackend& backend, Storage weight) : backend_(backend), weight_(std::move(weight)) {}
  std::string_view kernel() const override { return "dense"; }
  std::size_t bytes() const override { return weight_.buffer.bytes; }
  // Y [rows, T] = activation(W X [cols, T] + bias) + residual
  void apply(Tensor x, Tensor y, const Epilogue& epilogue) const override {
    backend_.gemm(Trans::no, Trans::no, weight_.tensor, x, y, Write::overwrite);
    apply_epilogue(backend_, epilogue, y);
  }

 private:
  CpuBackend& backend_;
  Storage weight_;
};

double density_of(const sparse::CsrView<float>& w) {
  const double area = static_cast<double>(w.rows) * static_cast<double>(w.cols);
  return area > 0 ? static_cast<double>(w.nnz()) / area : 0;
}

cpu::Candidate dense_candidate(CpuBackend& backend, const sparse::CsrView<float>& w) {
  const bool bf16 = backend.products() == DType::bf16 && cpu::bf16_products();
  return {bf16 ? "dense-bf16" : "dense-f32", [&backend, w, bf16]() -> std::unique_ptr<cpu::Weight> {
            Storage dense = make_storage(backend, w.rows, w.cols, DType::f32);
            sparse::csr_to_dense(w, dense.tensor.as<float>(), w.cols);
            if (bf16) return cpu::bf16_weight(backend, dense.tensor);
            return std::make_unique<DenseForm>(backend, std::move(dense));
          }};
}

/// Column tiles worth trying: the default, whole rows (best for few tokens, whose x fits a cache anyway), and its
/// neighbours.
std::vector<std::int64_t> tiles_of(const sparse::CsrView<float>& w, sparse::Values values) {
  const std::int64_t usual = sparse::default_tile_columns(w, values), whole = std::min<std::int64_t>(w.cols, 32768);
  std::vector<std::int64_t> tiles{usual};
  for (const std::int64_t tile : {usual / 2, usual * 2, whole}) {
    if (tile >= 64 && tile <= whole && std::ranges::find(tiles, tile) == tiles.end()) tiles.push_back(tile);
  }
  return tiles;
}

/// The forms of W, that of the rule first.
std::vector<cpu::Candidate> candidates_of(CpuBackend& backend, const sparse::CsrView<float>& w) {
  const bool bf16 = backend.products() == DType::bf16;
  const sparse::Values values = bf16 ? sparse::Values::bf16 : sparse::Values::f32;
  std::vector<cpu::Candidate> out;
  for (const std::int64_t tile : tiles_of(w, values)) {
    out.push_back({text(bf16 ? "csr-bf16" : "csr-f32", ", tiles of ", tile), [w, tile, values] {
                     return std::make_unique<PackedWeight>(sparse::pack(w, {tile, values}));
                   }});
  }
  const double density = density_of(w);
  if (density >= kDenseMayWin) {
    const auto at = density > kSparseByRule ? out.begin() : out.end();
    out.insert(at, dense_candidate(backend, w));
  }
  return out;
}

}  // namespace

std::unique_ptr<PreparedWeight> CpuBackend::prepare_csr(const CsrPattern& pattern, Tensor values) {
  const sparse::CsrView<float> w{pattern.rows, pattern.cols, pattern.row_start.as<std::int32_t>(),
                                 pattern.columns.as<std::int32_t>(), values.as<float>()};
  return cpu::tuned_weight({w.rows, w.cols, w.nnz(), std::string(precision_of(*this))}, candidates_of(*this, w));
}

// oneDNN gains nothing by packed f32 weights (onednn.cpp has the figures); bf16 weights are half as much to read.
std::unique_ptr<PreparedWeight> CpuBackend::prepare_dense(Tensor w) {
  if (options_.products != DType::bf16 || !cpu::bf16_products() || w.size() == 0) return nullptr;
  return cpu::bf16_weight(*this, w);
}

void CpuBackend::apply(const PreparedWeight& w, Tensor x, Tensor y, const Epilogue& epilogue) {
  static_cast<const cpu::Weight&>(w).apply(x, y, epilogue);
}

}  // namespace bertx
