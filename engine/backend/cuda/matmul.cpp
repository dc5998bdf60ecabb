// cuBLASLt thinks in columns, so it is asked for Cᵀ = op(B)ᵀ op(A)ᵀ, which is the same memory. Its epilogue with a bias
// does not fit: it has a number for each row of what it computes, that is for each of our tokens, not for each feature.
#include "backend/cuda/matmul.h"

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <mutex>

#include "bertx/error.h"

namespace bertx::cuda {
namespace {

constexpr std::size_t kMostPlans = 4096;  // batches of any length ask for shapes of their own

/// Everything that cuBLASLt's choice depends on.
using Key = std::array<std::int64_t, 13>;

template <class T, cublasStatus_t (*kDestroy)(T)>
struct Handle {
  Handle() = default;
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() {
    if (value != nullptr) kDestroy(value);
  }
  T value = nullptr;
};
using Description = Handle<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Layout = Handle<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Preference = Handle<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

struct Plan {
  Description product;
  Layout left, right, out;
  cublasLtMatmulAlgo_t algorithm{};
};

/// The largest power of two, up to 256, that divides an address.
std::int64_t alignment(const void* data) {
  const auto address = reinterpret_cast<std::uintptr_t>(data) | 256;
  return static_cast<std::int64_t>(address & (~address + 1));
}

// left and right as cuBLASLt sees them: B and A.
std::shared_ptr<const Plan> make_plan(Device& device, std::int64_t m, std::int64_t n, std::int64_t k, Factor a,
                                      Factor b, std::int64_t ldc, Inputs inputs, const Key& key) {
  const auto plan = std::make_shared<Plan>();
  const auto need = [](cublasStatus_t status) { check(status, "cuBLASLt"); };
  const cudaDataType_t type = inputs == Inputs::bf16 ? CUDA_R_16BF : CUDA_R_32F;
  need(cublasLtMatmulDescCreate(
      &plan->product.value, inputs == Inputs::tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F));
  const cublasOperation_t left = b.transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
  const cublasOperation_t right = a.transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
  need(cublasLtMatmulDescSetAttribute(plan->product.value, CUBLASLT_MATMUL_DESC_TRANSA, &left, sizeof left));
  need(cublasLtMatmulDescSetAttribute(plan->product.value, CUBLASLT_MATMUL_DESC_TRANSB, &right, sizeof right));
  const auto layout = [&](Layout& to, cudaDataType_t of, std::int64_t rows, std::int64_t cols, std::int64_t stride) {
    need(cublasLtMatrixLayoutCreate(&to.value, of, static_cast<std::uint64_t>(rows), static_cast<std::uint64_t>(cols),
                                    stride));
  };
  layout(plan->left, type, b.transposed ? k : n, b.transposed ? n : k, b.stride);
  layout(plan->right, type, a.transposed ? m : k, a.transposed ? k : m, a.stride);
  layout(plan->out, CUDA_R_32F, n, m, ldc);

  Preference preference;
  need(cublasLtMatmulPreferenceCreate(&preference.value));
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
    need(cublasLtMatmulPreferenceSetAttribute(preference.value, attribute, &value, sizeof value));
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, device.workspace_bytes());
  const auto bytes = [&](std::size_t i) { return static_cast<std::uint32_t>(key[i]); };
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, bytes(10));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, bytes(11));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, bytes(12));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, bytes(12));
  cublasLtMatmulHeuristicResult_t result{};
  int found = 0;
  need(cublasLtMatmulAlgoGetHeuristic(device.blas(), plan->product.value, plan->left.value, plan->right.value,
                                      plan->out.value, plan->out.value, preference.value, 1, &result, &found));
  if (found == 0) fail(ErrorKind::numeric, "backend \"cuda\": cuBLASLt has no product of ", m, " x ", k, " x ", n);
  plan->algorithm = result.algo;
  return plan;
}

std::shared_ptr<const Plan> plan_of(Device& device, std::int64_t m, std::int64_t n, std::int64_t k, Factor a, Factor b,
                                    const float* c, std::int64_t ldc, bool add, Inputs inputs) {
  static std::mutex lock;
  static auto& plans = *new std::map<Key, std::shared_ptr<const Plan>>;  // lives as long as the device
  const Key key{m,
                n,
                k,
                a.transposed,
                b.transposed,
                a.stride,
                b.stride,
                ldc,
                add,
                static_cast<std::int64_t>(inputs),
                alignment(b.data),
                alignment(a.data),
                alignment(c)};
  const std::lock_guard guard(lock);
  if (plans.size() >= kMostPlans) plans.clear();
  std::shared_ptr<const Plan>& plan = plans[key];
  if (!plan) plan = make_plan(device, m, n, k, a, b, ldc, inputs, key);
  return plan;
}

}  // namespace

void dense_product(Device& device, std::int64_t m, std::int64_t n, std::int64_t k, Factor a, Factor b, float* c,
                   std::int64_t ldc, bool add, Inputs inputs) {
  const std::shared_ptr<const Plan> plan = plan_of(device, m, n, k, a, b, c, ldc, add, inputs);
  const float one = 1, keep = add ? 1 : 0;
  check(cublasLtMatmul(device.blas(), plan->product.value, &one, b.data, plan->left.value, a.data, plan->right.value,
                       &keep, c, plan->out.value, c, plan->out.value, &plan->algorithm, device.workspace(),
                       device.workspace_bytes(), device.stream()),
        "cuBLASLt");
}

}  // namespace bertx::cuda
