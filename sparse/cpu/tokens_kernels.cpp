// What happens to activations around the products: into token blocks, back, and through GELU.
#include "cpu/kernels.h"
#include "cpu/vectors.h"

namespace bertx::sparse::BERTX_ISA_NAMESPACE {
namespace {

typedef int32_t Ints __attribute__((vector_size(BERTX_VECTOR_BYTES)));

/// e^z for z in [-87, 88], to about 2 ulp: 2^n e^r with |r| <= ln 2 / 2 and a Taylor polynomial for e^r.
BERTX_INLINE Vector exponential(Vector z) {
  constexpr float kRounder = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
  const Vector lowest = fill<Vector>(-87.0f), highest = fill<Vector>(88.0f);
  z = z < lowest ? lowest : z;
  z = z > highest ? highest : z;
  const Vector shifted = z * 1.44269504f + kRounder;
  const Vector n = shifted - kRounder;
  const Vector r = (z - n * 0.693359375f) + n * 2.12194440e-4f;
  Vector p = r * (1.0f / 5040) + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  Ints bits, power;
  __builtin_memcpy(&bits, &p, sizeof bits);
  __builtin_memcpy(&power, &shifted, sizeof power);
  bits += power << 23;  // the rounder's own bits leave at the top
  __builtin_memcpy(&p, &bits, sizeof p);
  return p;
}

/// y Φ(y); 1 - Φ(|y|) = (a1 t + … + a5 t^5) e^(-y²/2) / 2 with t = 1 / (1 + p |y| / √2) (Abramowitz & Stegun 7.1.26:
/// off by at most 7.5e-8).
BERTX_INLINE Vector gelu_by_erf(Vector y) {
  const Vector size = y < 0.0f ? -y : y;
  const Vector t = 1.0f / (1.0f + size * 0.231641888f);
  Vector tail = t * 0.530702715f - 0.726576014f;
  tail = tail * t + 0.710706871f;
  tail = tail * t - 0.142248368f;
  tail = tail * t + 0.127414796f;
  tail = tail * t * exponential(y * y * -0.5f);
  return y * (y < 0.0f ? tail : 1.0f - tail);
}

/// y (1 + tanh u) / 2 = y / (1 + e^(-2u)), u = sqrt(2 / π) (y + 0.044715 y³).
BERTX_INLINE Vector gelu_by_tanh(Vector y) {
  const Vector twice = (y + y * y * y * 0.044715f) * -1.59576912f;
  return y / (1.0f + exponential(twice));
}

template <bool kByTanh>
void gelu_rows(float* y, int64_t ldy, int64_t rows, int64_t tokens) {
  const int64_t full = tokens / kLanes * kLanes;
  for (int64_t r = 0; r < rows; ++r) {
    float* const row = y + r * ldy;
    for (int64_t t = 0; t < full; t += kLanes) {
      const Vector v = load<Vector>(row + t);
      store(row + t, kByTanh ? gelu_by_tanh(v) : gelu_by_erf(v));
    }
    if (full == tokens) continue;
    float tail[kLanes] = {};
    for (int64_t t = full; t < tokens; ++t) tail[t - full] = row[t];
    const Vector v = load<Vector>(tail);
    store(tail, kByTanh ? gelu_by_tanh(v) : gelu_by_erf(v));
    for (int64_t t = full; t < tokens; ++t) row[t] = tail[t - full];
  }
}

}  // namespace

int64_t block_width(int64_t tokens) {
  if (tokens <= 1) return 1;
  if (tokens <= 4) return 4;
  if (tokens <= 8 && kLanes > 8) return 8;
  return (tokens + kLanes - 1) / kLanes * kLanes;
}

void pack_tokens(const float* x, int64_t ldx, int64_t features, int64_t tokens, int64_t width, float* block) {
  const int64_t full = tokens / kLanes * kLanes;
  for (int64_t f = 0; f < features; ++f, x += ldx, block += width) {
    for (int64_t t = 0; t < full; t += kLanes) store(block + t, load<Vector>(x + t));
    for (int64_t t = full; t < tokens; ++t) block[t] = x[t];
    for (int64_t t = tokens; t < width; ++t) block[t] = 0.0f;
  }
}

void unpack_tokens(const float* block, int64_t width, int64_t rows, int64_t tokens, float* y, int64_t ldy) {
  const int64_t full = tokens / kLanes * kLanes;
  for (int64_t r = 0; r < rows; ++r, y += ldy, block += width) {
    for (int64_t t = 0; t < full; t += kLanes) store(y + t, load<Vector>(block + t));
    for (int64_t t = full; t < tokens; ++t) y[t] = block[t];
  }
}

void gelu(float* y, int64_t ldy, int64_t rows, int64_t tokens, bool by_tanh) {
  by_tanh ? gelu_rows<true>(y, ldy, rows, tokens) : gelu_rows<false>(y, ldy, rows, tokens);
}

}  // namespace bertx::sparse::BERTX_ISA_NAMESPACE
