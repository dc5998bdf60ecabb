// Rows of tables become columns of activations and back: a square of lanes x lanes elements at a time, transposed in
// registers.
#include "backend/cpu/kernels.h"
#include "backend/cpu/vectors.h"

namespace bertx::cpu::BERTX_ISA_NAMESPACE {

void embed(const float* const* word, const float* const* position, const float* const* type, int64_t tokens,
           Range features, Matrix x) {
  for (int64_t i = features.first; i < features.last; i += kLanes) {
    const int64_t count = features.last - i < kLanes ? features.last - i : kLanes;
    const auto row = [&](const float* table) {
      return count == kLanes ? load(table + i) : load_partial(table + i, count);
    };
    Vector square[kLanes] = {};
    for (int64_t t = 0; t < tokens; ++t) square[t] = row(word[t]) + row(position[t]) + row(type[t]);
    transpose(square);
    for (int64_t r = 0; r < count; ++r) {
      float* const to = x.data + (i + r) * x.stride;
      if (tokens == kLanes) {
        store(to, square[r]);
      } else {
        store_partial(to, square[r], tokens);
      }
    }
  }
}

void embed_grad(ConstMatrix dx, int64_t tokens, Range features, float* const* rows) {
  for (int64_t i = features.first; i < features.last; i += kLanes) {
    const int64_t count = features.last - i < kLanes ? features.last - i : kLanes;
    Vector square[kLanes] = {};
    for (int64_t r = 0; r < count; ++r) {
      const float* const from = dx.data + (i + r) * dx.stride;
      square[r] = tokens == kLanes ? load(from) : load_partial(from, tokens);
    }
    transpose(square);
    for (int64_t t = 0; t < tokens; ++t) {
      float* const to = rows[t] + i;
      if (count == kLanes) {
        store(to, load(to) + square[t]);
      } else {
        store_partial(to, load_partial(to, count) + square[t], count);
      }
    }
  }
}

}  // namespace bertx::cpu::BERTX_ISA_NAMESPACE
