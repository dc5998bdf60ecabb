#include "weights/gate_kernels.h"

#include "backend/cpu/dropout_lanes.h"
#include "backend/cpu/vector_math.h"

namespace bertx::cpu::BERTX_ISA_NAMESPACE {
namespace {

// M of s, and dM/dS where ds/dS = per_beta · s (1 - s).
template <class Access>
BERTX_INLINE void store_gates(const Access& access, Vector s, float per_beta, float* gates, float* slopes) {
  constexpr float low = (float)gate_low, width = (float)(gate_high - gate_low);
  const Vector wide = width * s + low, zero{};
  access.store(gates, wide > 0.0f ? (wide < 1.0f ? wide : fill(1.0f)) : zero);
  const Vector slope = (width * per_beta) * (s * (1.0f - s));
  access.store(slopes, wide > 0.0f ? (wide < 1.0f ? slope : zero) : zero);
}

// exp(-S), finite
BERTX_INLINE Vector odds_against(Vector score) { return exp(score < -80.0f ? fill(80.0f) : -score); }

}  // namespace

void settle_gates(const float* scores, float* gates, float* slopes, int64_t count) {
  for_vectors(count, [&](auto access, int64_t j) {
    store_gates(access, 1.0f / (1.0f + odds_against(access.load(scores + j))), 1.0f, gates + j, slopes + j);
  });
}

// s = 1 / (1 + r^(1 / β)) with r = (1 - u) / u · exp(-S), and 1 / β is 3/2.
void draw_gates(const float* scores, uint64_t seed, int64_t row, float* gates, float* slopes, int64_t count) {
  constexpr float least = (float)gate_least_uniform, width = (float)((1 - 2 * gate_least_uniform) * 0x1p-24);
  const DropoutRow random({.seed = seed}, row);
  for_vectors(count, [&](auto access, int64_t j) {
    const IntVector bits = (IntVector)(random.bits(j) >> 8);
    const auto uniform = [&](IntVector n) { return least + width * (__builtin_convertvector(n, Vector) + 0.5f); };
    // 1 - u by itself: the difference would lose digits where u is almost 1.
    const Vector r = uniform(0xFFFFFF - bits) / uniform(bits) * odds_against(access.load(scores + j));
    store_gates(access, 1.0f / (1.0f + r * square_root(r)), 1.5f, gates + j, slopes + j);
  });
}

}  // namespace bertx::cpu::BERTX_ISA_NAMESPACE
