#include "include/cublasLt.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "emulation.h"
#include "include/cuda_bf16.h"

struct cublasLtContext {};
struct cublasLtMatmulPreferenceOpaque_t {};
struct cublasLtMatmulDescOpaque_t {
  cublasComputeType_t compute;
  cudaDataType_t scale;
  std::int32_t pointer_mode = 0;
  std::int32_t trans_a = 0, trans_b = 0;
  std::uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
  std::int32_t bias_type = CUDA_R_32F;
};
struct cublasLtMatrixLayoutOpaque_t {
  std::uint32_t type;
  std::int32_t order = CUBLASLT_ORDER_COL;
  std::uint64_t rows, cols;
  std::int64_t ld;
  std::int32_t batches = 1;
  std::int64_t batch_stride = 0;

  std::size_t at(std::uint64_t row, std::uint64_t col) const {
    const auto stride = static_cast<std::uint64_t>(ld);
    return order == CUBLASLT_ORDER_COL ? row + col * stride : row * stride + col;
  }
  bool valid() const { return ld >= static_cast<std::int64_t>(order == CUBLASLT_ORDER_COL ? rows : cols); }
};

namespace {

using Desc = cublasLtMatmulDescOpaque_t;
using Layout = cublasLtMatrixLayoutOpaque_t;

double read(const void* data, std::uint32_t type, std::size_t i) {
  switch (type) {
    case CUDA_R_64F: return static_cast<const double*>(data)[i];
    case CUDA_R_16BF: return static_cast<const __nv_bfloat16*>(data)[i];
    default: return static_cast<const float*>(data)[i];
  }
}
void write(void* data, std::uint32_t type, std::size_t i, double value) {
  switch (type) {
    case CUDA_R_64F: static_cast<double*>(data)[i] = value; break;
    case CUDA_R_16BF: static_cast<__nv_bfloat16*>(data)[i] = static_cast<float>(value); break;
    default: static_cast<float*>(data)[i] = static_cast<float>(value);
  }
}

/// What a tensor core makes of an input: TF32 has 10 bits behind the point.
double rounded(double value, cublasComputeType_t compute) {
  if (compute == CUBLAS_COMPUTE_32F_FAST_16BF) return __nv_bfloat16(static_cast<float>(value));
  if (compute != CUBLAS_COMPUTE_32F_FAST_TF32 || !std::isfinite(value)) return value;
  const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(value));
  return std::bit_cast<float>((bits + 0xFFFu + (bits >> 13 & 1u)) & 0xFFFFE000u);
}

double activated(std::uint32_t epilogue, double x) {
  if ((epilogue & CUBLASLT_EPILOGUE_RELU) != 0) return x > 0 ? x : 0.0;
  if ((epilogue & CUBLASLT_EPILOGUE_GELU) == 0) return x;
  return 0.5 * x * (1 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
}

/// The elements of op(matrix) of one batch, row by row.
std::vector<double> gathered(const Desc& desc, const void* data, const Layout& layout, bool trans, std::int64_t batch) {
  const std::uint64_t rows = trans ? layout.cols : layout.rows, cols = trans ? layout.rows : layout.cols;
  const auto first = static_cast<std::size_t>(batch * layout.batch_stride);
  std::vector<double> out(rows * cols);
  for (std::uint64_t i = 0; i < rows; ++i) {
    for (std::uint64_t j = 0; j < cols; ++j) {
      const std::size_t place = first + (trans ? layout.at(j, i) : layout.at(i, j));
      out[i * cols + j] = rounded(read(data, layout.type, place), desc.compute);
    }
  }
  return out;
}

struct Product {
  Desc desc;
  double alpha, beta;
  const void *a, *b, *c;
  void* d;
  Layout a_layout, b_layout, c_layout, d_layout;

  std::uint64_t inner() const { return desc.trans_a != CUBLAS_OP_N ? a_layout.rows : a_layout.cols; }
  bool valid() const {
    const bool ta = desc.trans_a != CUBLAS_OP_N, tb = desc.trans_b != CUBLAS_OP_N;
    return a_layout.valid() && b_layout.valid() && c_layout.valid() && d_layout.valid() &&
           (ta ? a_layout.cols : a_layout.rows) == d_layout.rows &&
           (tb ? b_layout.rows : b_layout.cols) == d_layout.cols && (tb ? b_layout.cols : b_layout.rows) == inner() &&
           c_layout.rows == d_layout.rows && c_layout.cols == d_layout.cols && d_layout.rows > 0 && d_layout.cols > 0 &&
           inner() > 0 && a_layout.type == b_layout.type;
  }

  void run() const {
    for (std::int64_t batch = 0; batch < d_layout.batches; ++batch) run(batch);
  }
  void run(std::int64_t batch) const {
    const std::vector<double> left = gathered(desc, a, a_layout, desc.trans_a != CUBLAS_OP_N, batch);
    const std::vector<double> right = gathered(desc, b, b_layout, desc.trans_b != CUBLAS_OP_N, batch);
    const std::uint64_t m = d_layout.rows, n = d_layout.cols, k = inner();
    std::vector<double> sums(n);
    for (std::uint64_t i = 0; i < m; ++i) {
      std::fill(sums.begin(), sums.end(), 0.0);
      for (std::uint64_t p = 0; p < k; ++p) {
        const double factor = left[i * k + p];
        for (std::uint64_t j = 0; j < n; ++j) sums[j] += factor * right[p * n + j];
      }
      const bool biased = (desc.epilogue & CUBLASLT_EPILOGUE_BIAS) != 0;
      const double bias = biased ? read(desc.bias, static_cast<std::uint32_t>(desc.bias_type), i) : 0.0;
      for (std::uint64_t j = 0; j < n; ++j) {
        double value = alpha * static_cast<float>(sums[j]);
        const auto offset = [&](const Layout& l) {
          return static_cast<std::size_t>(batch * l.batch_stride) + l.at(i, j);
        };
        if (beta != 0) value += beta * read(c, c_layout.type, offset(c_layout));
        write(d, d_layout.type, offset(d_layout), activated(desc.epilogue, value + bias));
      }
    }
  }
};

template <class T>
cublasStatus_t set(T& field, const void* value, std::size_t bytes) {
  if (bytes != sizeof(T)) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(&field, value, sizeof(T));
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = new cublasLtContext;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}
std::size_t cublasLtGetVersion() { return 130000; }
const char* cublasGetStatusString(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS: return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED: return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_ALLOC_FAILED: return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_INVALID_VALUE: return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_EXECUTION_FAILED: return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_NOT_SUPPORTED: return "CUBLAS_STATUS_NOT_SUPPORTED";
  }
  return "unknown";
}
const char* cublasLtGetStatusString(cublasStatus_t status) { return cublasGetStatusString(status); }

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* desc, cublasComputeType_t compute, cudaDataType_t scale) {
  *desc = new Desc{.compute = compute, .scale = scale};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) {
  delete desc;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, std::size_t bytes) {
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_COMPUTE_TYPE: return set(desc->compute, value, bytes);
    case CUBLASLT_MATMUL_DESC_SCALE_TYPE: return set(desc->scale, value, bytes);
    case CUBLASLT_MATMUL_DESC_POINTER_MODE: return set(desc->pointer_mode, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSA: return set(desc->trans_a, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB: return set(desc->trans_b, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE: return set(desc->epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER: return set(desc->bias, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE: return set(desc->bias_type, value, bytes);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType_t type, std::uint64_t rows,
                                          std::uint64_t cols, std::int64_t ld) {
  *layout = new Layout{.type = static_cast<std::uint32_t>(type), .rows = rows, .cols = cols, .ld = ld};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete layout;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                cublasLtMatrixLayoutAttribute_t attribute, const void* value,
                                                std::size_t bytes) {
  switch (attribute) {
    case CUBLASLT_MATRIX_LAYOUT_TYPE: return set(layout->type, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_ORDER: return set(layout->order, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_ROWS: return set(layout->rows, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_COLS: return set(layout->cols, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_LD: return set(layout->ld, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT: return set(layout->batches, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET: return set(layout->batch_stride, value, bytes);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = new cublasLtMatmulPreferenceOpaque_t;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete preference;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t, cublasLtMatmulPreferenceAttributes_t,
                                                    const void*, std::size_t) {
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                                              cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t, int requested,
                                              cublasLtMatmulHeuristicResult_t* results, int* returned) {
  *returned = 0;
  if (requested <= 0 || !Product{*desc, 1, 0, nullptr, nullptr, nullptr, nullptr, *a, *b, *c, *d}.valid()) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  results[0] = {};
  results[0].state = CUBLAS_STATUS_SUCCESS;
  *returned = 1;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout,
                              const void* beta, const void* c, cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t*, void*, std::size_t,
                              cudaStream_t stream) {
  if (desc->pointer_mode != 0) return CUBLAS_STATUS_NOT_SUPPORTED;
  const auto scale = static_cast<std::uint32_t>(desc->scale);
  const Product product{
      *desc, read(alpha, scale, 0), read(beta, scale, 0), a, b, c, d, *a_layout, *b_layout, *c_layout, *d_layout};
  if (!product.valid()) return CUBLAS_STATUS_INVALID_VALUE;
  const cudaError_t error = cuda_emulation::enqueue(stream, [product] { product.run(); });
  return error == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}
