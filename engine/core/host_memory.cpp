#include "core/host_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "bertx/error.h"
#include "core/float16.h"

namespace bertx {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kAddressSpace = std::size_t{1} << 47;  // of a process on x86-64; no allocator is asked for more

[[maybe_unused]] bool is_float(DType type) { return type != DType::i32 && type != DType::u8; }

// Calls body(load, store) with the element access of the two types: load(pointer, i) -> double, store(pointer, i, v).
template <class Body>
void with_load(DType type, const Body& body) {
  switch (type) {
    case DType::f32:
      return body([](const void* p, std::int64_t i) -> double { return static_cast<const float*>(p)[i]; });
    case DType::f64: return body([](const void* p, std::int64_t i) { return static_cast<const double*>(p)[i]; });
    case DType::f16:
      return body([](const void* p, std::int64_t i) -> double {
        return f16_to_float(static_cast<const std::uint16_t*>(p)[i]);
      });
    case DType::bf16:
      return body([](const void* p, std::int64_t i) -> double {
        return bf16_to_float(static_cast<const std::uint16_t*>(p)[i]);
      });
    default: assert(!"not a float type");
  }
}

template <class Body>
void with_store(DType type, const Body& body) {
  switch (type) {
    case DType::f32:
      return body([](void* p, std::int64_t i, double v) { static_cast<float*>(p)[i] = static_cast<float>(v); });
    case DType::f64: return body([](void* p, std::int64_t i, double v) { static_cast<double*>(p)[i] = v; });
    case DType::f16:
      return body([](void* p, std::int64_t i, double v) {
        static_cast<std::uint16_t*>(p)[i] = float_to_f16(static_cast<float>(v));
      });
    case DType::bf16:
      return body([](void* p, std::int64_t i, double v) {
        static_cast<std::uint16_t*>(p)[i] = float_to_bf16(static_cast<float>(v));
      });
    case DType::i32:
      return body(
          [](void* p, std::int64_t i, double v) { static_cast<std::int32_t*>(p)[i] = static_cast<std::int32_t>(v); });
    case DType::u8:
      return body(
          [](void* p, std::int64_t i, double v) { static_cast<std::uint8_t*>(p)[i] = static_cast<std::uint8_t>(v); });
  }
}

std::byte* row(Tensor x, std::int64_t i) { return static_cast<std::byte*>(x.row_range(i, 1).data); }

}  // namespace

Buffer allocate_host(std::size_t bytes) {
  // Parameters, moments and arenas lie on huge pages where the kernel has them: a training step walks through all of
  // them, and with pages of 4 KiB it spends 1.5 to 5 % of its time on address translation.
  const bool huge = bytes >= 2 * kHugePage;
  const auto alignment = static_cast<std::align_val_t>(huge ? kHugePage : kAlignment);
  void* data = nullptr;
  if (bytes < kAddressSpace) data = ::operator new(std::max(bytes, kAlignment), alignment, std::nothrow);
  if (data == nullptr) fail(ErrorKind::out_of_memory, "out of memory: ", bytes, " bytes were needed in one piece");
#ifdef MADV_HUGEPAGE
  if (huge) ::madvise(data, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);  // advice: refused, it costs only time
#endif
  return {std::shared_ptr<void>(data, [alignment](void* p) { ::operator delete(p, alignment); }), bytes};
}

void convert_host(Tensor from, Tensor to) {
  assert(from.rows == to.rows && from.cols == to.cols);
  if (from.dtype == to.dtype) {
    const std::size_t bytes = static_cast<std::size_t>(from.cols) * size_of(from.dtype);
    for (std::int64_t i = 0; i < from.rows && bytes > 0; ++i) std::memcpy(row(to, i), row(from, i), bytes);
    return;
  }
  assert(is_float(from.dtype) && is_float(to.dtype));
  with_load(from.dtype, [&](auto load) {
    with_store(to.dtype, [&](auto store) {
      for (std::int64_t i = 0; i < from.rows; ++i) {
        const std::byte* source = row(from, i);
        std::byte* target = row(to, i);
        for (std::int64_t j = 0; j < from.cols; ++j) store(target, j, load(source, j));
      }
    });
  });
}

void fill_host(Tensor x, double value) {
  with_store(x.dtype, [&](auto store) {
    for (std::int64_t i = 0; i < x.rows; ++i) {
      std::byte* target = row(x, i);
      for (std::int64_t j = 0; j < x.cols; ++j) store(target, j, value);
    }
  });
}

}  // namespace bertx
