// The element types of safetensors, and small questions about a tensor's entry.
#include <algorithm>
#include <array>
#include <cstring>

#include "bertx/error.h"
#include "bertx/files.h"
#include "bertx/safetensors.h"
#include "io/posix.h"

namespace bertx {
namespace {

struct TypeRow {
  ElementType type;
  std::string_view name;
  std::size_t size;
  std::optional<DType> dtype;
};

/// In the order of the enumeration.
constexpr std::array<TypeRow, 13> kTypes{{
    {ElementType::f64, "F64", 8, DType::f64},
    {ElementType::f32, "F32", 4, DType::f32},
    {ElementType::f16, "F16", 2, DType::f16},
    {ElementType::bf16, "BF16", 2, DType::bf16},
    {ElementType::i64, "I64", 8, std::nullopt},
    {ElementType::u64, "U64", 8, std::nullopt},
    {ElementType::i32, "I32", 4, DType::i32},
    {ElementType::u32, "U32", 4, std::nullopt},
    {ElementType::i16, "I16", 2, std::nullopt},
    {ElementType::u16, "U16", 2, std::nullopt},
    {ElementType::i8, "I8", 1, std::nullopt},
    {ElementType::u8, "U8", 1, DType::u8},
    {ElementType::boolean, "BOOL", 1, std::nullopt},
}};

const TypeRow& row_of(ElementType type) { return kTypes[static_cast<std::size_t>(type)]; }

/// The first element of which all exponent bits are set (infinity or NaN), or `count`.
template <class Bits>
std::size_t first_not_finite(const void* data, std::size_t count, Bits exponent) {
  const Bits* bits = static_cast<const Bits*>(data);
  constexpr std::size_t kBlock = 4096;
  for (std::size_t start = 0; start < count; start += kBlock) {
    const std::size_t end = std::min(count, start + kBlock);
    Bits any = 0;
    for (std::size_t i = start; i < end; ++i) any |= static_cast<Bits>((bits[i] & exponent) == exponent);
    if (!any) continue;
    while ((bits[start] & exponent) != exponent) ++start;
    return start;
  }
  return count;
}

}  // namespace

std::string_view name_of(ElementType type) { return row_of(type).name; }
std::size_t size_of(ElementType type) { return row_of(type).size; }
std::optional<DType> dtype_of_element(ElementType type) { return row_of(type).dtype; }

std::optional<ElementType> element_type_of(std::string_view name) {
  for (const TypeRow& row : kTypes) {
    if (row.name == name) return row.type;
  }
  return std::nullopt;
}

ElementType element_type_of(DType type) {
  for (const TypeRow& row : kTypes) {
    if (row.dtype == type) return row.type;
  }
  return ElementType::u8;
}

std::string TensorEntry::shape_text() const {
  std::string out = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) out += (i ? ", " : "") + std::to_string(shape[i]);
  return out + "]";
}

void require_finite(const TensorEntry& entry, const std::filesystem::path& path) {
  const auto count = static_cast<std::size_t>(entry.elements());
  std::size_t bad = count;
  switch (entry.type) {
    case ElementType::f64: bad = first_not_finite<std::uint64_t>(entry.data, count, 0x7FF0000000000000u); break;
    case ElementType::f32: bad = first_not_finite<std::uint32_t>(entry.data, count, 0x7F800000u); break;
    case ElementType::f16: bad = first_not_finite<std::uint16_t>(entry.data, count, 0x7C00u); break;
    case ElementType::bf16: bad = first_not_finite<std::uint16_t>(entry.data, count, 0x7F80u); break;
    default: return;
  }
  if (bad != count) {
    fail(ErrorKind::bad_input, shown(path), ": tensor ", quote(entry.name), ": found NaN or infinity at element ", bad,
         " of shape ", entry.shape_text(), ", expected finite numbers");
  }
}

}  // namespace bertx
