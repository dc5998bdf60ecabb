// A view of a matrix in a backend's memory, and the buffer that owns such memory.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace bertx {

enum class DType : std::uint8_t { f32, f64, f16, bf16, i32, u8 };

constexpr std::size_t size_of(DType type) {
  switch (type) {
    case DType::f64: return 8;
    case DType::f32:
    case DType::i32: return 4;
    case DType::f16:
    case DType::bf16: return 2;
    case DType::u8: return 1;
  }
  return 0;
}

template <class T>
inline constexpr DType dtype_of = DType::u8;
template <>
inline constexpr DType dtype_of<float> = DType::f32;
template <>
inline constexpr DType dtype_of<double> = DType::f64;
template <>
inline constexpr DType dtype_of<std::int32_t> = DType::i32;

/// A matrix [rows, cols], row i beginning at data + i * stride elements. It never owns its memory.
/// Activations are [features, tokens] (feature-major); weights are [out, in] as a checkpoint stores them;
/// a bias or other vector over features is [n, 1] with stride 1; ids and other vectors over tokens are [1, n].
/// In activations the columns from cols up to the stride are scratch: any operation may write there.
struct Tensor {
  void* data = nullptr;
  std::int64_t rows = 0, cols = 0, stride = 0;
  DType dtype = DType::f32;

  std::int64_t size() const { return rows * cols; }
  bool empty() const { return data == nullptr; }
  /// Rows lie one after the other without a gap.
  bool contiguous() const { return stride == cols || rows <= 1; }

  template <class T>
  T* as() const {
    assert(dtype == dtype_of<T> || empty());
    return static_cast<T*>(data);
  }
  Tensor row_range(std::int64_t first, std::int64_t count) const {
    assert(first >= 0 && first + count <= rows);
    return {at(first * stride), count, cols, stride, dtype};
  }
  Tensor col_range(std::int64_t first, std::int64_t count) const {
    assert(first >= 0 && first + count <= cols);
    return {at(first), rows, count, stride, dtype};
  }

 private:
  void* at(std::int64_t element) const {
    return static_cast<std::byte*>(data) + element * static_cast<std::int64_t>(size_of(dtype));
  }
};

/// A view of memory that lies one row after the other.
inline Tensor view(void* data, std::int64_t rows, std::int64_t cols, DType dtype) {
  return {data, rows, cols, cols, dtype};
}

/// Bytes of one backend, kept alive while any copy of the Buffer lives (allocated, or a mapped file).
struct Buffer {
  std::shared_ptr<void> data;
  std::size_t bytes = 0;
};

/// A Tensor together with the bytes under it.
struct Storage {
  Buffer buffer;
  Tensor tensor;
};

}  // namespace bertx
