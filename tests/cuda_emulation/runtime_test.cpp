// The emulated runtime: work waits for who waits for it, memory is not the host's, limits are a device's.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include "cuda/device.cuh"
#include "emulator/emulation.h"
#include "emulator/include/cublasLt.h"
#include "emulator/include/cuda_bf16.h"
#include "on_device.h"

namespace bertx::sparse::cuda::test {
namespace {

__global__ void add_one(float* x) { x[threadIdx.x] += 1; }

TEST(EmulatedRuntime, WorkIsDoneWhenItIsWaitedForAndNoEarlier) {
  const Emulation emulation({});
  OnDevice<float> x(std::vector<float>{1, 2});
  float* pinned = nullptr;
  ASSERT_EQ(cudaMallocHost(&pinned, 2 * sizeof(float)), cudaSuccess);
  pinned[0] = pinned[1] = -1;
  cudaEvent_t event;
  ASSERT_EQ(cudaEventCreate(&event), cudaSuccess);
  ASSERT_EQ(launch(add_one, 1, 2, 0, nullptr, x.data()), cudaSuccess);
  ASSERT_EQ(cudaMemcpyAsync(pinned, x.data(), 2 * sizeof(float), cudaMemcpyDeviceToHost), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(event), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(event), cudaErrorNotReady);
  EXPECT_EQ(pinned[0], -1) << "nobody has waited";
  ASSERT_EQ(cudaEventSynchronize(event), cudaSuccess);
  EXPECT_EQ(pinned[0], 2);
  EXPECT_EQ(pinned[1], 3);
  EXPECT_EQ(cudaEventDestroy(event), cudaSuccess);
  EXPECT_EQ(cudaFreeHost(pinned), cudaSuccess);
}

TEST(EmulatedRuntime, PageableMemoryIsCopiedAtTheCall) {
  const Emulation emulation({});
  OnDevice<float> x(2);
  float values[2] = {5, 6};
  ASSERT_EQ(cudaMemcpyAsync(x.data(), values, sizeof(values), cudaMemcpyHostToDevice), cudaSuccess);
  values[0] = 7;
  EXPECT_EQ(x.values(), (std::vector<float>{5, 6}));
}

TEST(EmulatedRuntime, AGraphRepeatsWhatWasCaptured) {
  const Emulation emulation({});
  OnDevice<float> x(std::vector<float>{1, 2});
  cudaStream_t stream;
  cudaGraph_t graph;
  cudaGraphExec_t exec;
  ASSERT_EQ(cudaStreamCreate(&stream), cudaSuccess);
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), cudaSuccess);
  ASSERT_EQ(launch(add_one, 1, 2, 0, stream, x.data()), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorStreamCaptureUnsupported);
  ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  ASSERT_EQ(cudaGraphInstantiate(&exec, graph), cudaSuccess);
  EXPECT_EQ(x.values(), (std::vector<float>{1, 2}));
  for (int i = 0; i < 3; ++i) ASSERT_EQ(cudaGraphLaunch(exec, stream), cudaSuccess);
  EXPECT_EQ(x.values(), (std::vector<float>{4, 5}));
  EXPECT_EQ(cudaGraphExecDestroy(exec), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
}

TEST(EmulatedRuntime, AGraphOwnsWhatWasAllocatedInIt) {
  const Emulation emulation({});
  const std::size_t before = cuda_emulation::device_bytes();
  OnDevice<float> out(2);
  cudaStream_t stream;
  ASSERT_EQ(cudaStreamCreate(&stream), cudaSuccess);
  for (const bool given_back : {true, false}) {
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    float* scratch = nullptr;
    ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), cudaSuccess);
    ASSERT_EQ(cudaMallocAsync(&scratch, 8, stream), cudaSuccess);
    ASSERT_EQ(cudaMemsetAsync(scratch, 0, 8, stream), cudaSuccess);
    ASSERT_EQ(launch(add_one, 1, 2, 0, stream, scratch), cudaSuccess);
    ASSERT_EQ(cudaMemcpyAsync(out.data(), scratch, 8, cudaMemcpyDeviceToDevice, stream), cudaSuccess);
    EXPECT_EQ(cudaFreeAsync(out.data(), stream), cudaErrorInvalidValue);  // it is not the graph's
    if (given_back) {
      EXPECT_EQ(cudaFreeAsync(scratch, stream), cudaSuccess);
    }
    ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
    ASSERT_EQ(cudaGraphInstantiate(&exec, graph), cudaSuccess);
    ASSERT_EQ(cudaGraphDestroy(graph), cudaSuccess);
    ASSERT_EQ(cudaGraphLaunch(exec, stream), cudaSuccess);
    EXPECT_EQ(out.values(), (std::vector<float>{1, 1}));
    // What a run has left the next cannot allocate again.
    EXPECT_EQ(cudaGraphLaunch(exec, stream), given_back ? cudaSuccess : cudaErrorInvalidValue);
    EXPECT_EQ(cudaGraphExecDestroy(exec), cudaSuccess);
    EXPECT_EQ(cuda_emulation::device_bytes(), before + 8);  // of `out`
  }
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
}

TEST(EmulatedRuntime, NoGraphReadsPageableMemory) {
  const Emulation emulation({});
  OnDevice<float> x(2);
  const float values[2] = {5, 6};
  cudaStream_t stream;
  cudaGraph_t graph;
  ASSERT_EQ(cudaStreamCreate(&stream), cudaSuccess);
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), cudaSuccess);
  EXPECT_EQ(cudaMemcpyAsync(x.data(), values, sizeof(values), cudaMemcpyHostToDevice, stream),
            cudaErrorStreamCaptureUnsupported);
  ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
}

TEST(EmulatedRuntime, MemoryIsLimitedCheckedAndCounted) {
  const Emulation emulation({.memory_bytes = 1000});
  const std::size_t before = cuda_emulation::device_bytes();
  float *a = nullptr, *b = nullptr;
  ASSERT_EQ(cudaMalloc(&a, 600), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&b, 600), cudaErrorMemoryAllocation);
  EXPECT_EQ(b, nullptr);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess) << "read once";
  std::size_t free = 0, total = 0;
  ASSERT_EQ(cudaMemGetInfo(&free, &total), cudaSuccess);
  EXPECT_EQ(total - free, before + 600);
  float host[200] = {};
  EXPECT_EQ(cudaMemcpy(a, host, 604, cudaMemcpyHostToDevice), cudaErrorInvalidValue) << "4 bytes too many";
  EXPECT_EQ(cudaMemcpy(host, host + 100, 4, cudaMemcpyDeviceToHost), cudaErrorInvalidValue) << "not of the device";
  EXPECT_EQ(cudaFree(host), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(a), cudaSuccess);
  EXPECT_EQ(cudaFree(a), cudaErrorInvalidValue) << "twice";
  EXPECT_EQ(cuda_emulation::device_bytes(), before);
}

TEST(EmulatedRuntimeDeathTest, TheHostCannotTouchDeviceMemory) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const Emulation emulation({.guarded = true});
  OnDevice<float> x(std::vector<float>{1, 2});
  EXPECT_DEATH({ *const_cast<volatile float*>(x.data()) = 3; }, "touched memory of the emulated CUDA device");
}

TEST(EmulatedRuntime, ALaunchThatNoDeviceTakesIsRefused) {
  const Emulation emulation({});
  EXPECT_EQ(launch(add_one, 0, 2, 0, nullptr, nullptr), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(add_one, 1, 1025, 0, nullptr, nullptr), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(add_one, dim3(1, 65536), 1, 0, nullptr, nullptr), cudaErrorInvalidConfiguration);
  OnDevice<float> x(2);
  EXPECT_EQ(launch(add_one, 1, 2, 49153, nullptr, x.data()), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFuncSetAttribute(add_one, cudaFuncAttributeMaxDynamicSharedMemorySize, 300 << 10),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaFuncSetAttribute(add_one, cudaFuncAttributeMaxDynamicSharedMemorySize, 60 << 10), cudaSuccess);
  EXPECT_EQ(launch(add_one, 1, 2, 49153, nullptr, x.data()), cudaSuccess);
}

TEST(EmulatedRuntime, WithoutADeviceItSaysSo) {
  const Emulation emulation({.devices = 0});
  int count = -1;
  EXPECT_EQ(cudaGetDeviceCount(&count), cudaErrorNoDevice);
  EXPECT_EQ(count, 0);
  EXPECT_STREQ(cudaGetErrorString(cudaErrorNoDevice), "no CUDA-capable device is detected");
}

/// d [m, n] = op(a) b, with a row of bias each, as cuBLASLt is told to.
TEST(EmulatedRuntime, ProductsFollowLayoutsRoundingAndEpilogue) {
  const Emulation emulation({});
  constexpr int m = 3, n = 4, k = 5;
  std::vector<float> a(m * k), b(k * n), bias{10, 20, 30}, expected(m * n);
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = 1.0f + 0x1p-12f * static_cast<float>(i);
  for (std::size_t i = 0; i < b.size(); ++i) b[i] = static_cast<float>(i) - 9;
  cublasLtHandle_t handle;
  ASSERT_EQ(cublasLtCreate(&handle), CUBLAS_STATUS_SUCCESS);
  for (const cublasComputeType_t compute : {CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_32F_FAST_TF32}) {
    const float rounding = compute == CUBLAS_COMPUTE_32F ? 0x1p-23f : 0x1p-10f;
    for (int i = 0; i < m; ++i) {  // a is [k, m], b [k, n], both by columns
      for (int j = 0; j < n; ++j) {
        double sum = 0;
        for (int p = 0; p < k; ++p) {
          sum += std::nearbyint(double(a[std::size_t(p + i * k)]) / rounding) * rounding * b[std::size_t(p + j * k)];
        }
        expected[std::size_t(i + j * m)] = std::max(0.0f, static_cast<float>(2 * sum) + bias[std::size_t(i)]);
      }
    }
    OnDevice<float> left(a), right(b), shift(bias), d(m * n);
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t left_layout, right_layout, d_layout;
    ASSERT_EQ(cublasLtMatmulDescCreate(&desc, compute, CUDA_R_32F), CUBLAS_STATUS_SUCCESS);
    const cublasOperation_t transposed = CUBLAS_OP_T;
    const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_RELU_BIAS;
    const float* const shift_there = shift.data();
    ASSERT_EQ(cublasLtMatmulDescSetAttribute(desc, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, 4), CUBLAS_STATUS_SUCCESS);
    ASSERT_EQ(cublasLtMatmulDescSetAttribute(desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, 4), CUBLAS_STATUS_SUCCESS);
    ASSERT_EQ(cublasLtMatmulDescSetAttribute(desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &shift_there, 8),
              CUBLAS_STATUS_SUCCESS);
    cublasLtMatrixLayoutCreate(&left_layout, CUDA_R_32F, k, m, k);
    cublasLtMatrixLayoutCreate(&right_layout, CUDA_R_32F, k, n, k);
    cublasLtMatrixLayoutCreate(&d_layout, CUDA_R_32F, m, n, m);
    const float alpha = 2, beta = 0;
    ASSERT_EQ(cublasLtMatmul(handle, desc, &alpha, left.data(), left_layout, right.data(), right_layout, &beta,
                             d.data(), d_layout, d.data(), d_layout, nullptr, nullptr, 0, nullptr),
              CUBLAS_STATUS_SUCCESS);
    EXPECT_EQ(d.values(), expected);
    EXPECT_EQ(cublasLtMatmul(handle, desc, &alpha, left.data(), left_layout, right.data(), d_layout, &beta, d.data(),
                             d_layout, d.data(), d_layout, nullptr, nullptr, 0, nullptr),
              CUBLAS_STATUS_INVALID_VALUE);
    for (auto* layout : {left_layout, right_layout, d_layout}) cublasLtMatrixLayoutDestroy(layout);
    cublasLtMatmulDescDestroy(desc);
  }
  cublasLtDestroy(handle);
}

}  // namespace
}  // namespace bertx::sparse::cuda::test
