#include <algorithm>
#include <cmath>

#include "bertx/gated_weight.h"
#include "bertx/sparse/isa.h"
#include "bertx/sparse/parallel.h"
#include "weights/count.h"
#include "weights/gate_kernels.h"
#include "weights/host_copy.h"
#include "weights/product.h"

namespace bertx {
namespace {

static_assert(GatedWeight::low == cpu::gate_low && GatedWeight::high == cpu::gate_high);
static_assert(GatedWeight::beta == 2.0 / 3.0);  // the kernels know what the power 1 / β is

struct Kernels {
  cpu::SettleGates* settle;
  cpu::DrawGates* draw;
};
Kernels active_kernels() {
  switch (sparse::active_isa()) {
    case sparse::Isa::avx512: return {cpu::avx512::settle_gates, cpu::avx512::draw_gates};
    case sparse::Isa::avx2: return {cpu::avx2::settle_gates, cpu::avx2::draw_gates};
    case sparse::Isa::portable: break;
  }
  return {cpu::portable::settle_gates, cpu::portable::draw_gates};
}

// ---- the same for the double reference ------------------------------------------------------------------------------

void set_gate(double s, double ds, double& gate, double& slope) {
  constexpr double width = GatedWeight::high - GatedWeight::low;
  const double wide = width * s + GatedWeight::low;
  gate = std::clamp(wide, 0.0, 1.0);
  slope = wide > 0.0 && wide < 1.0 ? width * ds : 0.0;
}

void settle_gates(const double* scores, double* gates, double* slopes, std::int64_t count) {
  for (std::int64_t j = 0; j < count; ++j) {
    const double s = 1.0 / (1.0 + std::exp(-scores[j]));
    set_gate(s, s * (1.0 - s), gates[j], slopes[j]);
  }
}

void draw_gates(const double* scores, std::uint64_t seed, std::int64_t row, double* gates, double* slopes,
                std::int64_t count) {
  constexpr double least = cpu::gate_least_uniform, width = (1 - 2 * least) * 0x1p-24;
  for (std::int64_t j = 0; j < count; ++j) {
    const std::uint32_t bits = random_u32(seed, static_cast<std::uint32_t>(row), static_cast<std::uint32_t>(j)) >> 8;
    const double u = least + width * (static_cast<double>(bits) + 0.5);
    const double s = 1.0 / (1.0 + std::exp(-(std::log(u) - std::log(1.0 - u) + scores[j]) / GatedWeight::beta));
    set_gate(s, s * (1.0 - s) / GatedWeight::beta, gates[j], slopes[j]);
  }
}

}  // namespace

GatedWeight::GatedWeight(Backend& backend, std::shared_ptr<Parameter> w, std::shared_ptr<Parameter> scores)
    : w_(std::move(w)), scores_(std::move(scores)) {
  const Tensor t = w_->tensor();
  if (!scores_) {
    scores_ = std::make_shared<Parameter>();
    scores_->value = make_storage(backend, t.rows, t.cols, t.dtype);
    backend.fill(scores_->tensor(), first_score);
  }
  scores_->decay = false;
  for (Storage* derived : {&gates_, &slopes_, &effective_}) {
    *derived = make_storage(backend, t.rows, t.cols, t.dtype);
  }
  refresh(backend);
}

// y [out, T] = activation((W∘M) x [in, T] + bias) + residual
void GatedWeight::apply(Exec& exec, Tensor x, Tensor y, const Epilogue& epilogue) const {
  exec.backend.gemm(Trans::no, Trans::no, effective_.tensor, x, y, Write::overwrite);
  apply_epilogue(exec.backend, epilogue, y);
}

// G [out, in] = dy xᵀ; dW += M∘G; dS += dM/dS∘(W∘G); dx = (W∘M)ᵀ dy
void GatedWeight::apply_grad(Exec& exec, Tensor x, Tensor dy, Tensor dx, Write write) {
  const Tensor dw = w_->gradient(), dscores = scores_->gradient();
  if (!dw.empty() || !dscores.empty()) {
    const Arena::Mark mark = exec.arena.mark();
    const Tensor g = exec.take(out(), in());
    exec.backend.gemm(Trans::no, Trans::yes, dy, x, g, Write::overwrite);
    if (!dw.empty()) add_product(exec.backend, g, gates_.tensor, dw);
    if (!dscores.empty()) {
      const Tensor movement = exec.take(out(), in());
      set_product(exec.backend, g, w_->tensor(), movement);
      add_product(exec.backend, movement, slopes_.tensor, dscores);
    }
    exec.arena.rewind(mark);
  }
  if (!dx.empty()) exec.backend.gemm(Trans::yes, Trans::no, effective_.tensor, dy, dx, write);
}

void GatedWeight::visit(const std::string& path, const Visit& parameter) {
  parameter(path, *w_);
  parameter(path + ".scores", *scores_);
}

// Gates are made on the host, a row at a time; where the backend's memory is another one they travel.
void GatedWeight::set_gates(Backend& backend, std::optional<std::uint64_t> seed) {
  const Tensor scores = scores_->tensor();
  const std::int64_t rows = scores.rows, cols = scores.cols;
  const auto make = [&]<class T>(const T* from, T* gates, T* slopes) {
    const Kernels kernels = active_kernels();
    const std::int64_t grain = std::max<std::int64_t>(1, (1 << 14) / std::max<std::int64_t>(1, cols));
    sparse::parallel_ranges(rows, grain, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t i = first, at = first * cols; i < last; ++i, at += cols) {
        if constexpr (std::is_same_v<T, float>) {
          seed ? kernels.draw(from + at, *seed, i, gates + at, slopes + at, cols)
               : kernels.settle(from + at, gates + at, slopes + at, cols);
        } else {
          seed ? draw_gates(from + at, *seed, i, gates + at, slopes + at, cols)
               : settle_gates(from + at, gates + at, slopes + at, cols);
        }
      }
    });
  };
  if (backend.real() == DType::f64) {
    make(scores.as<double>(), gates_.tensor.as<double>(), slopes_.tensor.as<double>());
  } else if (backend.host_memory()) {
    make(scores.as<float>(), gates_.tensor.as<float>(), slopes_.tensor.as<float>());
  } else if (scores.size() > 0) {
    const std::vector<float> host = downloaded<float>(backend, scores);
    std::vector<float> gates(host.size()), slopes(host.size());
    make(host.data(), gates.data(), slopes.data());
    backend.upload(view(gates.data(), rows, cols, DType::f32), gates_.tensor);
    backend.upload(view(slopes.data(), rows, cols, DType::f32), slopes_.tensor);
  }
  set_product(backend, w_->tensor(), gates_.tensor, effective_.tensor);
}

void GatedWeight::refresh(Backend& backend) { set_gates(backend, std::nullopt); }

void GatedWeight::draw(Backend& backend, std::uint64_t seed) { set_gates(backend, seed); }

void GatedWeight::materialize(Backend& backend, Tensor out_matrix) const {
  backend.copy(effective_.tensor, out_matrix);
}

std::int64_t GatedWeight::nonzeros(Backend& backend) const { return count_nonzeros(backend, gates_.tensor); }

}  // namespace bertx
