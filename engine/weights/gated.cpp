#include <algorithm>
#include <cmath>

#include "bertx/gated_weight.h"
#include "bertx/sparse/parallel.h"
#include "weights/count.h"
#include "weights/host_copy.h"
#include "weights/product.h"

namespace bertx {
namespace {

constexpr double least_uniform = 1e-4;

// M and dM/ds of s
template <class T>
struct Stretched {
  T gate, slope;
};
template <class T>
Stretched<T> stretched(T s) {
  constexpr T low = static_cast<T>(GatedWeight::low), width = static_cast<T>(GatedWeight::high - GatedWeight::low);
  const T wide = width * s + low;
  return {std::clamp(wide, T{0}, T{1}), wide > T{0} && wide < T{1} ? width : T{0}};
}

// gate(score, i, j, M, dM/dS) for all elements, on all threads; all [rows, cols] without gaps.
template <class T, class Gate>
void for_elements(const T* scores, T* gates, T* slopes, std::int64_t rows, std::int64_t cols, const Gate& gate) {
  if (cols == 0) return;
  const std::int64_t grain = std::max<std::int64_t>(1, (1 << 14) / cols);
  sparse::parallel_ranges(rows, grain, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      for (std::int64_t j = 0, n = i * cols; j < cols; ++j, ++n) gate(scores[n], i, j, gates[n], slopes[n]);
    }
  });
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

// Gates are made on the host; where the backend's memory is another one they travel.
template <class Gate>
void GatedWeight::set_gates(Backend& backend, const Gate& gate) {
  const Tensor scores = scores_->tensor();
  const auto set = [&]<class T>(T) {
    if (backend.host_memory()) {
      for_elements(scores.as<T>(), gates_.tensor.as<T>(), slopes_.tensor.as<T>(), scores.rows, scores.cols, gate);
      return;
    }
    const std::vector<T> host = downloaded<T>(backend, scores);
    std::vector<T> gates(host.size()), slopes(host.size());
    for_elements(host.data(), gates.data(), slopes.data(), scores.rows, scores.cols, gate);
    if (host.empty()) return;
    backend.upload(view(gates.data(), scores.rows, scores.cols, dtype_of<T>), gates_.tensor);
    backend.upload(view(slopes.data(), scores.rows, scores.cols, dtype_of<T>), slopes_.tensor);
  };
  backend.real() == DType::f64 ? set(double{}) : set(float{});
  set_product(backend, w_->tensor(), gates_.tensor, effective_.tensor);
}

void GatedWeight::refresh(Backend& backend) {
  set_gates(backend, []<class T>(T score, std::int64_t, std::int64_t, T& gate, T& slope) {
    const T s = T{1} / (T{1} + std::exp(-score));
    const Stretched<T> m = stretched(s);
    gate = m.gate;
    slope = m.slope * s * (T{1} - s);
  });
}

// With r = (1 - u) / u · exp(-S) is s = 1 / (1 + r^(1 / β)), and 1 / β is 3/2: a root is all that it takes.
void GatedWeight::draw(Backend& backend, std::uint64_t seed) {
  static_assert(beta == 2.0 / 3.0);
  set_gates(backend, [seed]<class T>(T score, std::int64_t i, std::int64_t j, T& gate, T& slope) {
    const std::uint32_t bits = random_u32(seed, static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(j));
    constexpr T least = static_cast<T>(least_uniform), width = static_cast<T>((1 - 2 * least_uniform) * 0x1p-32);
    const T u = least + width * (static_cast<T>(bits) + T{0.5});
    const T r = (T{1} - u) / u * std::exp(-score), s = T{1} / (T{1} + r * std::sqrt(r));
    const Stretched<T> m = stretched(s);
    gate = m.gate;
    slope = m.slope * s * (T{1} - s) / static_cast<T>(beta);
  });
}

void GatedWeight::materialize(Backend& backend, Tensor out_matrix) const {
  backend.copy(effective_.tensor, out_matrix);
}

std::int64_t GatedWeight::nonzeros(Backend& backend) const { return count_nonzeros(backend, gates_.tensor); }

}  // namespace bertx
