// Sparse products on a GPU beside cuSPARSE and cuBLAS, in turn (A B C A B C), results checked.
//   bertx_spmm_cuda_bench [rows cols density tokens]   one case; without arguments the shapes of BERT-base
// A line a kernel: microseconds (fastest, median), GFLOP/s on the nonzeros, and how many times as fast as cuSPARSE and
// as cuBLAS in f32. bf16 kernels find x in bf16; rounding it is not in their time.
#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <random>
#include <string>

#include "bench/on_gpu.h"
#include "bertx/sparse/csr.h"
#include "cuda/launch.h"
#include "cuda/tiled_layout.h"
#include "cuda/tiling.h"

namespace bertx::sparse::cuda {
namespace {

constexpr int kRounds = 15, kCalls = 20;

struct Case {
  std::int64_t rows, cols;
  double density;
  std::int64_t tokens;
};

struct Contestant {
  std::string name;
  std::function<void()> call;  ///< writes y
  double allowed;              ///< relative difference from cuBLAS in f32
  std::vector<double> microseconds = {};
};

/// The problem in device memory, and all that can compute it.
class Race {
 public:
  Race(const Case& c, cublasHandle_t blas, cusparseHandle_t sparse)
      : case_(c),
        blas_(blas),
        sparse_(sparse),
        random_(1),
        w_(matrix()),
        dense_(dense()),
        x_(numbers(c.cols * c.tokens)) {
    add_blas();
    add_cusparse();
    add_rows();
    add_tiled(Number::f32);
    add_tiled(Number::bf16);
  }

  ~Race() {
    cusparseDestroySpMat(a_);
    cusparseDestroyDnMat(b_);
    cusparseDestroyDnMat(c_);
  }
  Race(const Race&) = delete;
  Race& operator=(const Race&) = delete;

  void run() {
    std::vector<float> expected;
    for (Contestant& one : contestants_) {  // the first is cuBLAS in f32
      check(cudaMemset(y_.data(), 0xFF, static_cast<std::size_t>(case_.rows * case_.tokens) * sizeof(float)), "memset");
      one.call();
      const std::vector<float> y = y_.values();
      if (expected.empty()) expected = y;
      const double difference = relative_difference(y, expected);
      if (!(difference <= one.allowed)) {
        std::printf("  %s: WRONG, differs by %g\n", one.name.c_str(), difference);
        std::exit(1);
      }
    }
    for (int round = 0; round < kRounds; ++round) {
      for (Contestant& one : contestants_) one.microseconds.push_back(timed(one));
    }
    report();
  }

 private:
  CsrMatrix<float> matrix() {
    std::bernoulli_distribution kept(case_.density);
    std::normal_distribution<float> normal;
    CsrMatrix<float> w;
    w.rows = case_.rows;
    w.cols = case_.cols;
    for (std::int64_t r = 0; r < w.rows; ++r) {
      for (std::int64_t col = 0; col < w.cols; ++col) {
        if (!kept(random_)) continue;
        w.columns.push_back(static_cast<std::int32_t>(col));
        w.values.push_back(normal(random_));
      }
      w.row_start.push_back(static_cast<std::int32_t>(w.columns.size()));
    }
    return w;
  }
  std::vector<float> dense() const {
    std::vector<float> out(static_cast<std::size_t>(case_.rows * case_.cols));
    csr_to_dense(w_.view(), out.data(), case_.cols);
    return out;
  }
  std::vector<float> numbers(std::int64_t count) {
    std::normal_distribution<float> normal;
    std::vector<float> out(static_cast<std::size_t>(count));
    for (float& v : out) v = normal(random_);
    return out;
  }
  static double relative_difference(const std::vector<float>& a, const std::vector<float>& b) {
    double difference = 0, size = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      difference += (double(a[i]) - b[i]) * (double(a[i]) - b[i]);
      size += double(b[i]) * b[i];
    }
    return std::sqrt(difference / std::max(size, 1e-300));
  }

  /// Row-major Y = W X is Yᵀ = Xᵀ Wᵀ as cuBLAS stores matrices.
  void add_gemm(const char* name, const void* w, const void* x, cudaDataType type, cublasComputeType_t compute,
                double allowed) {
    contestants_.push_back({name,
                            [this, w, x, type, compute] {
                              const float one = 1, zero = 0;
                              const auto t = static_cast<int>(case_.tokens), rows = static_cast<int>(case_.rows),
                                         cols = static_cast<int>(case_.cols);
                              check(cublasGemmEx(blas_, CUBLAS_OP_N, CUBLAS_OP_N, t, rows, cols, &one, x, type, t, w,
                                                 type, cols, &zero, y_.data(), CUDA_R_32F, t, compute,
                                                 CUBLAS_GEMM_DEFAULT),
                                    "cublasGemmEx");
                            },
                            allowed});
  }
  void add_blas() {
    add_gemm("cuBLAS f32", dense_on_device_.data(), x_on_device_.data(), CUDA_R_32F, CUBLAS_COMPUTE_32F, 0);
    add_gemm("cuBLAS TF32", dense_on_device_.data(), x_on_device_.data(), CUDA_R_32F, CUBLAS_COMPUTE_32F_FAST_TF32,
             1e-2);
    add_gemm("cuBLAS bf16", narrow_dense_.data(), narrow_x_.data(), CUDA_R_16BF, CUBLAS_COMPUTE_32F, 2e-2);
  }

  void add_cusparse() {
    const auto nnz = static_cast<std::int64_t>(w_.values.size());
    check(cusparseCreateCsr(&a_, case_.rows, case_.cols, nnz, row_start_.data(), columns_.data(), values_.data(),
                            CUSPARSE_INDEX_32I, CUSPARSE_INDEX_32I, CUSPARSE_INDEX_BASE_ZERO, CUDA_R_32F),
          "cusparseCreateCsr");
    check(cusparseCreateDnMat(&b_, case_.cols, case_.tokens, case_.tokens, x_on_device_.data(), CUDA_R_32F,
                              CUSPARSE_ORDER_ROW),
          "cusparseCreateDnMat");
    check(cusparseCreateDnMat(&c_, case_.rows, case_.tokens, case_.tokens, y_.data(), CUDA_R_32F, CUSPARSE_ORDER_ROW),
          "cusparseCreateDnMat");
    for (const auto& [name, algorithm] :
         {std::pair{"cuSPARSE 2", CUSPARSE_SPMM_CSR_ALG2}, std::pair{"cuSPARSE 3", CUSPARSE_SPMM_CSR_ALG3}}) {
      std::size_t bytes = 0;
      check(cusparseSpMM_bufferSize(sparse_, kPlain, kPlain, &one_, a_, b_, &zero_, c_, CUDA_R_32F, algorithm, &bytes),
            "cusparseSpMM_bufferSize");
      buffers_.push_back(std::make_unique<Array<char>>(std::vector<char>(bytes + 1)));
      void* const buffer = buffers_.back()->data();
      check(cusparseSpMM_preprocess(sparse_, kPlain, kPlain, &one_, a_, b_, &zero_, c_, CUDA_R_32F, algorithm, buffer),
            "cusparseSpMM_preprocess");
      contestants_.push_back(
          {name,
           [this, algorithm = algorithm, buffer] {
             check(cusparseSpMM(sparse_, kPlain, kPlain, &one_, a_, b_, &zero_, c_, CUDA_R_32F, algorithm, buffer),
                   "cusparseSpMM");
           },
           1e-5});
    }
  }

  void add_rows() {
    const auto nnz = static_cast<std::int64_t>(w_.values.size());
    const Csr wide{case_.rows,      case_.cols,     nnz,         row_start_.data(),
                   columns_.data(), values_.data(), Number::f32, order_.data()};
    Csr narrow = wide;
    narrow.values = narrow_values_.data();
    narrow.number = Number::bf16;
    for (const auto& [name, form] :
         {std::pair{"few", Form::few}, std::pair{"rows_8", Form::rows_8}, std::pair{"rows_32", Form::rows_32},
          std::pair{"rows_128", Form::rows_128}, std::pair{"rows_256", Form::rows_256}}) {
      if (form == Form::few && case_.tokens > kFewTokens) continue;
      for (const Csr& w : {wide, narrow}) {
        const bool bf16 = w.number == Number::bf16;
        if (form == Form::rows_256 && !bf16) continue;
        const Input x = bf16 ? Input{narrow_x_.data(), case_.tokens} : Input{x_on_device_.data(), case_.tokens};
        add_own(std::string(name) + (bf16 ? " bf16" : ""), bf16, [this, w, x, form = form] {
          return spmm(nullptr, w, x, {y_.data(), case_.tokens}, case_.tokens, {}, form);
        });
      }
    }
  }
  void add_tiled(Number number) {
    const bool bf16 = number == Number::bf16;
    if (bf16 && case_.tokens % 8 != 0) return;
    for (const int columns : {32, 64, 96, 128}) {
      for (const int warps : {8, 16}) {
        const TiledLayout layout = tiled_layout(w_.view(), {columns, warps, number});
        if (!tiled_fits(layout.shape)) continue;
        Tiled w = layout.shape;
        w.rows_of = kept(layout.rows_of);
        w.cell_start = kept(layout.cell_start);
        w.segments = kept(layout.segments);
        w.entries = kept(std::vector<std::int32_t>(layout.entries.begin(), layout.entries.end()));
        const Input x = bf16 ? Input{narrow_x_.data(), case_.tokens} : Input{x_on_device_.data(), case_.tokens};
        const std::string name = "tiles of " + std::to_string(columns) + ", " + std::to_string(warps) + " warps";
        add_own(name + (bf16 ? " bf16" : ""), bf16, [this, w, x] {
          return spmm_tiled(nullptr, w, x, {y_.data(), case_.tokens}, case_.tokens, {});
        });
      }
    }
  }
  template <class Product>
  void add_own(const std::string& name, bool bf16, const Product& product) {
    contestants_.push_back(
        {name, [product] { check(static_cast<cudaError_t>(product()), "launch"); }, bf16 ? 2e-2 : 1e-5});
  }
  std::int32_t* kept(const std::vector<std::int32_t>& values) {
    arrays_.push_back(std::make_unique<Array<std::int32_t>>(values));
    return arrays_.back()->data();
  }

  /// Microseconds of a call, on average of kCalls one after the other.
  double timed(const Contestant& one) {
    cudaEvent_t begin, end;
    check(cudaEventCreate(&begin), "event");
    check(cudaEventCreate(&end), "event");
    check(cudaEventRecord(begin), "event");
    for (int call = 0; call < kCalls; ++call) one.call();
    check(cudaEventRecord(end), "event");
    check(cudaEventSynchronize(end), "kernel");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, begin, end), "event");
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
    return 1000.0 * milliseconds / kCalls;
  }

  void report() {
    double blas = 0, cusparse = 1e30;
    for (Contestant& one : contestants_) {
      std::sort(one.microseconds.begin(), one.microseconds.end());
      if (one.name == "cuBLAS f32") blas = one.microseconds.front();
      if (one.name.rfind("cuSPARSE", 0) == 0) cusparse = std::min(cusparse, one.microseconds.front());
    }
    const double flops = 2.0 * static_cast<double>(w_.values.size()) * static_cast<double>(case_.tokens);
    std::printf("%lld x %lld, density %.3g, %lld tokens\n", static_cast<long long>(case_.rows),
                static_cast<long long>(case_.cols), case_.density, static_cast<long long>(case_.tokens));
    for (const Contestant& one : contestants_) {
      const double best = one.microseconds.front(), median = one.microseconds[one.microseconds.size() / 2];
      std::printf("  %-28s %9.2f %9.2f us %9.0f GFLOP/s %7.2f x cuSPARSE %7.2f x cuBLAS f32\n", one.name.c_str(), best,
                  median, flops / best * 1e-3, cusparse / best, blas / best);
    }
  }

  static constexpr cusparseOperation_t kPlain = CUSPARSE_OPERATION_NON_TRANSPOSE;
  const float one_ = 1, zero_ = 0;
  Case case_;
  cublasHandle_t blas_;
  cusparseHandle_t sparse_;
  std::mt19937 random_;
  CsrMatrix<float> w_;
  std::vector<float> dense_, x_;
  Array<std::int32_t> row_start_{w_.row_start}, columns_{w_.columns},
      order_{longest_first(w_.rows, w_.row_start.data())};
  Array<float> values_{w_.values}, dense_on_device_{dense_}, x_on_device_{x_},
      y_{std::vector<float>(static_cast<std::size_t>(case_.rows * case_.tokens))};
  Array<std::uint16_t> narrow_values_{narrowed(w_.values)}, narrow_dense_{narrowed(dense_)}, narrow_x_{narrowed(x_)};
  cusparseSpMatDescr_t a_ = nullptr;
  cusparseDnMatDescr_t b_ = nullptr, c_ = nullptr;
  std::vector<std::unique_ptr<Array<std::int32_t>>> arrays_;
  std::vector<std::unique_ptr<Array<char>>> buffers_;
  std::vector<Contestant> contestants_;
};

}  // namespace

int bench(int argc, char** argv) {
  cudaDeviceProp device;
  check(cudaGetDeviceProperties(&device, 0), "no usable device");
  std::printf("%s\n", device.name);
  cublasHandle_t blas;
  cusparseHandle_t sparse;
  check(cublasCreate(&blas), "cublasCreate");
  check(cusparseCreate(&sparse), "cusparseCreate");
  if (argc == 5) {
    Race({std::atoll(argv[1]), std::atoll(argv[2]), std::atof(argv[3]), std::atoll(argv[4])}, blas, sparse).run();
    return 0;
  }
  for (const auto& [rows, cols] : {std::pair{768, 768}, std::pair{3072, 768}, std::pair{768, 3072}}) {
    for (const double density : {0.25, 0.2, 0.1, 0.05}) {
      for (const int tokens : {1, 8, 128, 1024, 16384}) Race({rows, cols, density, tokens}, blas, sparse).run();
    }
  }
  return 0;
}

}  // namespace bertx::sparse::cuda

int main(int argc, char** argv) { return bertx::sparse::cuda::bench(argc, argv); }
