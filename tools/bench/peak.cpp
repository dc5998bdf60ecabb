#include "bench/peak.h"

#include <omp.h>

#include <algorithm>
#include <cstdint>

#include "bench/timing.h"
#include "bertx/sparse/isa.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace bertx::tools {
namespace {

/// What a loop did; `sum` goes somewhere, so that the loop is not left out.
struct Work {
  double operations = 0, sum = 0;
};
using Loop = Work (*)(std::int64_t rounds);

// Twelve sums, more than the latency of a multiply-add needs, each in a register of its own.
#define BERTX_PEAK_LOOP(name, Element, bytes, attributes)                                      \
  attributes Work name(std::int64_t rounds) {                                                  \
    typedef Element V __attribute__((vector_size(bytes)));                                     \
    V sums[12], factor = V{} + Element(0.999), term = V{} + Element(1e-3);                     \
    for (int j = 0; j < 12; ++j) sums[j] = V{} + Element(j);                                   \
    for (std::int64_t i = 0; i < rounds; ++i) {                                                \
      _Pragma("GCC unroll 12") for (int j = 0; j < 12; ++j) sums[j] = sums[j] * factor + term; \
    }                                                                                          \
    Work work{double(rounds) * 12 * double(bytes / sizeof(Element)) * 2, 0};                   \
    for (const V& s : sums) work.sum += double(s[0]);                                          \
    return work;                                                                               \
  }

#if defined(__x86_64__)
BERTX_PEAK_LOOP(f32_avx512, float, 64, __attribute__((target("avx512f,fma"))))
BERTX_PEAK_LOOP(f32_avx2, float, 32, __attribute__((target("avx2,fma"))))
BERTX_PEAK_LOOP(f64_avx512, double, 64, __attribute__((target("avx512f,fma"))))
BERTX_PEAK_LOOP(f64_avx2, double, 32, __attribute__((target("avx2,fma"))))

/// vdpbf16ps: 16 lanes, two products each.
__attribute__((target("avx512f,avx512bf16"))) Work bf16_avx512(std::int64_t rounds) {
  __m512 sums[12];
  for (int j = 0; j < 12; ++j) sums[j] = _mm512_set1_ps(static_cast<float>(j));
  const __m512bh a = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.5f), _mm512_set1_ps(0.25f)), b = a;
  for (std::int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < 12; ++j) sums[j] = _mm512_dpbf16_ps(sums[j], a, b);
  }
  Work work{static_cast<double>(rounds) * 12 * 16 * 4, 0};
  for (const __m512& s : sums) work.sum += static_cast<double>(s[0]);
  return work;
}
#endif
BERTX_PEAK_LOOP(f32_portable, float, 16, )
BERTX_PEAK_LOOP(f64_portable, double, 16, )

Loop loop_of(std::string_view dtype) {
  [[maybe_unused]] const sparse::Isa isa = sparse::active_isa();
  const bool doubles = dtype == "f64";
#if defined(__x86_64__)
  if (dtype == "bf16")
    return isa == sparse::Isa::avx512 && __builtin_cpu_supports("avx512bf16") ? bf16_avx512 : nullptr;
  if (isa == sparse::Isa::avx512) return doubles ? f64_avx512 : f32_avx512;
  if (isa == sparse::Isa::avx2) return doubles ? f64_avx2 : f32_avx2;
#endif
  if (dtype == "bf16") return nullptr;
  return doubles ? f64_portable : f32_portable;
}

}  // namespace

double measured_peak(std::string_view dtype, int threads) {
  const Loop loop = loop_of(dtype);
  if (loop == nullptr) return 0;
  double best = 0;
  volatile double kept = 0;
  for (int run = 0; run < 100; ++run) {
    double operations = 0, sum = 0;
    const double ms = milliseconds([&] {
#pragma omp parallel num_threads(threads) reduction(+ : operations, sum)
      {
        const Work work = loop(50000);
        operations += work.operations;
        sum += work.sum;
      }
    });
    kept = kept + sum;
    best = std::max(best, operations / (1e-3 * ms));
  }
  return best;
}

}  // namespace bertx::tools
