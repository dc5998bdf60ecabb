// Softmax down the columns of logits [C, N]: a token is a lane. C may be a vocabulary.
#include "backend/cpu/kernels.h"
#include "backend/cpu/vector_math.h"

namespace bertx::cpu::BERTX_ISA_NAMESPACE {
namespace {

constexpr int64_t kRun = 64;  // classes summed in float before they join the sum in double

}  // namespace

// The sum is kept relative to the largest so far, so that the logits are read once.
void softmax_sums(ConstMatrix logits, int64_t classes, Range cols, float* largest, double* sum) {
  for_vectors(cols.last - cols.first, [&](auto access, int64_t offset) {
    const int64_t t = cols.first + offset;
    const int lanes = cols.last - t < kLanes ? (int)(cols.last - t) : (int)kLanes;
    const float* const from = logits.data + t;
    Vector top = access.load(from);
    for (int lane = 0; lane < lanes; ++lane) sum[t + lane] = 0;
    for (int64_t first = 0; first < classes; first += kRun) {
      const int64_t last = first + kRun < classes ? first + kRun : classes;
      Vector higher = top, run{};
      for (int64_t c = first; c < last; ++c) higher = max(higher, access.load(from + c * logits.stride));
      for (int64_t c = first; c < last; ++c) run += exp(access.load(from + c * logits.stride) - higher);
      const Vector shrink = exp(top - higher);
      for (int lane = 0; lane < lanes; ++lane) sum[t + lane] = sum[t + lane] * shrink[lane] + run[lane];
      top = higher;
    }
    access.store(largest + t, top);
  });
}

void softmax_grad(ConstMatrix logits, int64_t classes, Range cols, const float* log_sum, const float* factor,
                  Matrix dlogits) {
  for_vectors(cols.last - cols.first, [&](auto access, int64_t offset) {
    const int64_t t = cols.first + offset;
    const Vector shift = access.load(log_sum + t), scale = access.load(factor + t);
    for (int64_t c = 0; c < classes; ++c) {
      const Vector e = exp(access.load(logits.data + c * logits.stride + t) - shift);
      // An ignored token has factor 0 and gets 0 even where its logits are not finite.
      access.store(dlogits.data + c * dlogits.stride + t, scale == 0.0f ? Vector{} : scale * e);
    }
  });
}

}  // namespace bertx::cpu::BERTX_ISA_NAMESPACE
