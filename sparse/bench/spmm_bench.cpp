// Rates of the sparse products on the nonzeros, and their share of this core's measured multiply-add peak.
//   bertx_spmm_bench [--benchmark_filter='packed/768x768/d0.1/t128'] ; BERTX_ISA and OMP_NUM_THREADS choose the rest
#include <benchmark/benchmark.h>

#include <chrono>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "bertx/sparse/csr.h"
#include "bertx/sparse/isa.h"
#include "bertx/sparse/packed.h"
#include "bertx/sparse/parallel.h"
#include "bertx/sparse/spmm.h"
#include "bertx/sparse/training.h"

namespace bertx::sparse {
namespace {

// Twelve sums, more than a multiply-add's latency needs, each in a register of its own.
#define BERTX_PEAK(name, bytes, attributes)                                                  \
  attributes double name(std::int64_t rounds) {                                              \
    typedef float V __attribute__((vector_size(bytes)));                                     \
    V acc[12], factor = V{} + 0.999f, term = V{} + 1e-3f;                                    \
    for (int j = 0; j < 12; ++j) acc[j] = V{} + float(j);                                    \
    for (std::int64_t i = 0; i < rounds; ++i) {                                              \
      _Pragma("GCC unroll 12") for (int j = 0; j < 12; ++j) acc[j] = acc[j] * factor + term; \
    }                                                                                        \
    float sum = 0;                                                                           \
    for (const V& a : acc) sum += a[0];                                                      \
    benchmark::DoNotOptimize(sum);                                                           \
    return double(rounds) * 12 * (bytes / 4) * 2;                                            \
  }
#if defined(__x86_64__)
BERTX_PEAK(flops_avx512, 64, __attribute__((target("avx512f,fma"))))
BERTX_PEAK(flops_avx2, 32, __attribute__((target("avx2,fma"))))
#endif
BERTX_PEAK(flops_portable, 16, )

/// Floating point operations a second of one core that only multiplies and adds in registers: the best of some runs.
double core_peak() {
  static const double peak = [] {
    double best = 0;
    for (int run = 0; run < 20; ++run) {
      const auto start = std::chrono::steady_clock::now();
      double flops = 0;
#if defined(__x86_64__)
      if (active_isa() == Isa::avx512) flops = flops_avx512(200000);
      if (active_isa() == Isa::avx2) flops = flops_avx2(200000);
#endif
      if (flops == 0) flops = flops_portable(200000);
      const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
      best = std::max(best, flops / time.count());
    }
    return best;
  }();
  return peak;
}

enum class Product {
  packed,
  packed_bf16,
  spmm,
  transposed,
  sddmm,
  train_forward,
  train_transposed,
  train_sddmm,
  train_update
};

struct Case {
  Product product;
  std::int64_t rows, cols;
  double density;
  std::int64_t tokens, tile;
};

/// |a - b| / |b|
double relative_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += (double(a[i]) - b[i]) * (double(a[i]) - b[i]);
    size += double(b[i]) * b[i];
  }
  return std::sqrt(difference / size);
}

void run(benchmark::State& state, const Case& c) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::bernoulli_distribution kept(c.density);
  const auto normals = [&](std::int64_t count) {
    std::vector<float> values(static_cast<std::size_t>(count));
    for (float& v : values) v = normal(random);
    return values;
  };
  std::vector<std::uint8_t> mask(static_cast<std::size_t>(c.rows * c.cols));
  for (auto& m : mask) m = kept(random);
  const std::vector<float> dense = normals(c.rows * c.cols);
  const CsrMatrix<float> w = csr_from_masked(dense.data(), c.cols, mask.data(), c.cols, c.rows, c.cols);
  const TransposedIndex t = build_transposed(c.rows, c.cols, w.row_start.data(), w.columns.data());
  const Values values = c.product == Product::packed_bf16 ? Values::bf16 : Values::f32;
  const PackedCsr packed = pack(w.view(), {c.tile, values}), f32 = pack(w.view());
  const std::vector<float> x = normals(c.cols * c.tokens), bias = normals(c.rows);
  std::vector<float> y = normals(c.rows * c.tokens), dx(x.size()), dw(w.values.size()), y_f32(y.size());
  TrainingCsr training(w.view(), {c.tile, Values::f32});
  const auto once = [&] {
    switch (c.product) {
      case Product::packed:
      case Product::packed_bf16:
        return spmm_packed(packed, x.data(), c.tokens, y.data(), c.tokens, c.tokens, {bias.data()});
      case Product::train_forward: return spmm(training, x.data(), c.tokens, y.data(), c.tokens, c.tokens);
      case Product::train_transposed:
        return spmm_transposed(training, y.data(), c.tokens, dx.data(), c.tokens, c.tokens);
      case Product::train_sddmm: return sddmm(training, y.data(), c.tokens, x.data(), c.tokens, c.tokens, dw.data());
      case Product::train_update: return training.update(w.values.data());
      case Product::spmm: return spmm(w.view(), x.data(), c.tokens, y.data(), c.tokens, c.tokens, {bias.data()});
      case Product::transposed:
        return spmm_transposed(w.view(), t.view(), y.data(), c.tokens, dx.data(), c.tokens, c.tokens);
      case Product::sddmm: return sddmm(w.view(), y.data(), c.tokens, x.data(), c.tokens, c.tokens, dw.data());
    }
  };
  const auto seconds = [](const auto& call) {
    const auto start = std::chrono::steady_clock::now();
    call();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  once();
  double best = 1e30, best_f32 = 1e30;  // the fastest call: other processes only ever add time
  for (auto _ : state) {
    const double time = seconds(once);
    best = std::min(best, time);
    state.SetIterationTime(time);
    if (c.product == Product::packed_bf16) {
      best_f32 = std::min(best_f32, seconds([&] {
                            spmm_packed(f32, x.data(), c.tokens, y_f32.data(), c.tokens, c.tokens, {bias.data()});
                          }));
    }
  }
  if (c.product == Product::packed_bf16) {
    state.counters["of_f32"] = best_f32 / best;  // both in this run, in turn
    if (relative_difference(y, y_f32) > 0x1p-7) state.SkipWithError("bf16 and f32 products differ");
  }
  const double flops = 2.0 * double(w.values.size()) * double(c.tokens);
  state.counters["GFLOP/s"] = flops / best * 1e-9;
  state.counters["peak_%"] = 100 * flops / best / (core_peak() * omp_get_max_threads());
  state.counters["tile"] = double(packed.tile_columns());
}

void register_all(std::int64_t tile) {
  const std::pair<const char*, Product> products[] = {{"packed", Product::packed},
                                                      {"packed-bf16", Product::packed_bf16},
                                                      {"spmm", Product::spmm},
                                                      {"transposed", Product::transposed},
                                                      {"sddmm", Product::sddmm},
                                                      {"train-forward", Product::train_forward},
                                                      {"train-transposed", Product::train_transposed},
                                                      {"train-sddmm", Product::train_sddmm},
                                                      {"train-update", Product::train_update}};
  const std::pair<std::int64_t, std::int64_t> shapes[] = {{768, 768}, {3072, 768}, {768, 3072}, {384, 384}};
  for (const auto& [name, product] : products) {
    for (const auto& [rows, cols] : shapes) {
      for (const char* density : {"0.5", "0.2", "0.1", "0.05"}) {
        for (const std::int64_t tokens : {1, 8, 16, 32, 64, 128, 512}) {
          const std::string title = std::string(name) + "/" + std::to_string(rows) + "x" + std::to_string(cols) + "/d" +
                                    density + "/t" + std::to_string(tokens);
          const Case c{product, rows, cols, std::stod(density), tokens, tile};
          benchmark::RegisterBenchmark(title.c_str(), [c](benchmark::State& state) { run(state, c); })
              ->UseManualTime()
              ->Unit(benchmark::kMicrosecond)
              ->MinTime(0.05);
        }
      }
    }
  }
}

}  // namespace
}  // namespace bertx::sparse

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  bertx::sparse::register_all(argc > 1 ? std::atoll(argv[1]) : 0);  // columns of a packed tile, 0 for the default
  benchmark::AddCustomContext("isa", std::string(bertx::sparse::isa_name(bertx::sparse::active_isa())));
  benchmark::AddCustomContext("peak of a core, GFLOP/s", std::to_string(bertx::sparse::core_peak() * 1e-9));
  benchmark::RunSpecifiedBenchmarks();
}
