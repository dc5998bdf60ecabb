// What benchmarks on a GPU share: arrays in its memory, and an end with words where a call fails.
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <cusparse.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "bertx/sparse/bf16.h"

namespace bertx::sparse::cuda {

inline void check(bool good, const char* what, const char* words) {
  if (good) return;
  std::fprintf(stderr, "%s: %s\n", what, words);
  std::exit(1);
}
inline void check(cudaError_t error, const char* what) { check(error == cudaSuccess, what, cudaGetErrorString(error)); }
inline void check(cusparseStatus_t status, const char* what) {
  check(status == CUSPARSE_STATUS_SUCCESS, what, cusparseGetErrorString(status));
}
inline void check(cublasStatus_t status, const char* what) {
  check(status == CUBLAS_STATUS_SUCCESS, what, cublasGetStatusString(status));
}

/// An array in device memory.
template <class T>
class Array {
 public:
  explicit Array(const std::vector<T>& values) : count_(values.size()) {
    check(cudaMalloc(&data_, std::max<std::size_t>(1, count_ * sizeof(T))), "cudaMalloc");
    check(cudaMemcpy(data_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice), "upload");
  }
  ~Array() { cudaFree(data_); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  T* data() const { return data_; }
  std::vector<T> values() const {
    std::vector<T> out(count_);
    check(cudaMemcpy(out.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost), "download");
    return out;
  }

 private:
  std::size_t count_;
  T* data_ = nullptr;
};

inline std::vector<std::uint16_t> narrowed(const std::vector<float>& values) {
  std::vector<std::uint16_t> out;
  for (const float v : values) out.push_back(bf16_from_float(v));
  return out;
}

}  // namespace bertx::sparse::cuda
