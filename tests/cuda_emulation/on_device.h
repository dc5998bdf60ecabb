// What tests on the emulated device share.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "emulator/emulation.h"
#include "emulator/include/cuda_runtime_api.h"

namespace bertx::sparse::cuda::test {

/// Settings for one test; afterwards the usual ones again, and errors are forgotten.
class Emulation {
 public:
  explicit Emulation(const cuda_emulation::Settings& settings) { cuda_emulation::configure(settings); }
  ~Emulation() { cuda_emulation::configure({}); }
  Emulation(const Emulation&) = delete;
  Emulation& operator=(const Emulation&) = delete;
};

/// An array in device memory; begins as NaN where no values are given.
template <class T>
class OnDevice {
 public:
  explicit OnDevice(std::size_t count) : count_(count) { allocate(); }
  explicit OnDevice(const std::vector<T>& values) : count_(values.size()) {
    allocate();
    if (count_ == 0) return;
    EXPECT_EQ(cudaMemcpy(data_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice), cudaSuccess);
  }
  ~OnDevice() { cudaFree(data_); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

  T* data() const { return data_; }
  /// Waits for the device.
  std::vector<T> values() const {
    std::vector<T> out(count_);
    if (count_ == 0) return out;
    const cudaError_t error = cudaMemcpy(out.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost);
    EXPECT_EQ(error, cudaSuccess) << cudaGetErrorString(error);
    return out;
  }

 private:
  void allocate() { EXPECT_EQ(cudaMalloc(&data_, count_ * sizeof(T)), cudaSuccess); }

  std::size_t count_;
  T* data_ = nullptr;
};

}  // namespace bertx::sparse::cuda::test
