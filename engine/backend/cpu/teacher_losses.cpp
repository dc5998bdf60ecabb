// What a student is compared with: softened distributions, directions, relations between tokens. Sums in double.
#include <algorithm>
#include <cmath>
#include <vector>

#include "backend/cpu/cpu.h"
#include "bertx/sparse/parallel.h"

namespace bertx {

namespace {

float& element(Tensor x, std::int64_t i, std::int64_t j) { return x.as<float>()[i * x.stride + j]; }

/// out = log softmax of column j of x / temperature
void log_softmax(Tensor x, std::int64_t j, double temperature, std::vector<double>& out) {
  out.clear();
  for (std::int64_t i = 0; i < x.rows; ++i) out.push_back(static_cast<double>(element(x, i, j)) / temperature);
  const double largest = *std::max_element(out.begin(), out.end());
  double sum = 0;
  for (const double value : out) sum += std::exp(value - largest);
  const double log_sum = largest + std::log(sum);
  for (double& value : out) value -= log_sum;
}

cpu::ConstMatrix const_at(Tensor x, std::int64_t row, std::int64_t token) {
  return {x.as<float>() + row * x.stride + token, x.stride};
}

}  // namespace

// logits, targets, dlogits [C, N];  the gradient is temperature · (p - p') / N
double CpuBackend::softened_divergence(Tensor logits, Tensor targets, double temperature, double scale,
                                       Tensor dlogits) {
  const auto count = static_cast<double>(logits.cols);
  std::vector<double> found, target;
  double loss = 0;
  for (std::int64_t n = 0; n < logits.cols && logits.rows > 0; ++n) {
    log_softmax(logits, n, temperature, found);
    log_softmax(targets, n, temperature, target);
    for (std::int64_t c = 0; c < logits.rows; ++c) {
      const auto i = static_cast<std::size_t>(c);
      const double wanted = std::exp(target[i]);
      loss += wanted * (target[i] - found[i]);
      if (dlogits.empty()) continue;
      element(dlogits, c, n) = static_cast<float>(scale / count * temperature * (std::exp(found[i]) - wanted));
    }
  }
  return logits.cols > 0 ? temperature * temperature * loss / count : 0.0;
}

// x, targets, dx [F, N];  d cos / dx = y / (|x| |y|) - cos x / |x|². Threads take columns.
double CpuBackend::cosine_distance(Tensor x, Tensor targets, double scale, Tensor dx) {
  const std::int64_t n = x.cols;
  const auto count = static_cast<double>(n);
  double* const xy = cpu::scratch<double>(cpu::Scratch::sums, 3 * n);  // then the cosine
  double* const xx = xy + n;                                           // then what x has in the gradient
  double* const yy = xx + n;                                           // then what targets have
  sparse::parallel_ranges(n, cpu::row_grain(x.rows), [&](std::int64_t first, std::int64_t last) {
    for (double* const sums : {xy, xx, yy}) std::fill(sums + first, sums + last, 0.0);
    for (std::int64_t i = 0; i < x.rows; ++i) {
      const float *const from = &element(x, i, 0), *const other = &element(targets, i, 0);
      for (std::int64_t t = first; t < last; ++t) {
        const double a = from[t], b = other[t];
        xy[t] += a * b, xx[t] += a * a, yy[t] += b * b;
      }
    }
    for (std::int64_t t = first; t < last; ++t) {
      const double norms = std::sqrt(xx[t] * yy[t]);
      xy[t] = norms > 0 ? xy[t] / norms : 0.0;
      xx[t] = norms > 0 ? scale / count * xy[t] / xx[t] : 0.0;
      yy[t] = norms > 0 ? -scale / count / norms : 0.0;
    }
    for (std::int64_t i = 0; i < x.rows && !dx.empty(); ++i) {
      const float *const from = &element(x, i, 0), *const other = &element(targets, i, 0);
      float* const to = &element(dx, i, 0);
      for (std::int64_t t = first; t < last; ++t) {
        to[t] = static_cast<float>(xx[t] * static_cast<double>(from[t]) + yy[t] * static_cast<double>(other[t]));
      }
    }
  });
  double loss = 0;
  for (std::int64_t t = 0; t < n; ++t) loss += 1 - xy[t];
  return n > 0 ? loss / count : 0.0;
}

// a, b, da, db [H·D, T], teacher_a, teacher_b [H·D', T]. Threads take heads and sequences.
double CpuBackend::relation_distance(Comparison comparison, std::int64_t heads, Tensor a, Tensor b, Tensor teacher_a,
                                     Tensor teacher_b, Tensor starts, double scale, Tensor da, Tensor db) {
  const std::int64_t sequences = starts.cols - 1;
  if (heads == 0 || a.cols == 0) return 0.0;
  const std::int32_t* const start = starts.as<std::int32_t>();
  const bool squares = comparison == Comparison::squares;
  double count = 0;
  for (std::int64_t s = 0; s < sequences; ++s) {
    const auto length = static_cast<double>(start[s + 1] - start[s]);
    count += static_cast<double>(heads) * length * (squares ? length : 1);
  }
  const std::int64_t dim = a.rows / heads, teacher_dim = teacher_a.rows / heads;
  const auto scale_of = [](std::int64_t n) { return static_cast<float>(1 / std::sqrt(static_cast<double>(n))); };
  const cpu::Kernels& kernels = cpu::active_kernels();
  std::vector<double> losses(static_cast<std::size_t>(heads * sequences), 0.0);
  sparse::parallel_ranges(heads * sequences, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t item = begin; item < end; ++item) {
      const std::int64_t head = item / sequences, first = start[item % sequences],
                         tokens = start[item % sequences + 1] - first;
      if (tokens == 0) continue;
      const auto gradient_at = [&](Tensor x) {
        return x.empty() ? cpu::Matrix{nullptr, 0} : cpu::Matrix{&element(x, head * dim, first), x.stride};
      };
      const cpu::RelationBlock block{
          {const_at(a, head * dim, first), const_at(b, head * dim, first), dim, scale_of(dim)},
          {const_at(teacher_a, head * teacher_dim, first), const_at(teacher_b, head * teacher_dim, first), teacher_dim,
           scale_of(teacher_dim)},
          tokens,
          !squares,
          static_cast<float>(scale / count),
          gradient_at(da),
          gradient_at(db)};
      const std::int64_t needed = kernels.relation_scratch(std::max(dim, teacher_dim), tokens);
      losses[static_cast<std::size_t>(item)] =
          kernels.relation(block, cpu::scratch<float>(cpu::Scratch::kernel, needed));
    }
  });
  double loss = 0;
  for (const double part : losses) loss += part;
  return loss / count;
}

}  // namespace bertx
