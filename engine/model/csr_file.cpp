#include "model/csr_file.h"

#include <bit>
#include <limits>

#include "bertx/error.h"
#include "bertx/sparse/csr.h"

namespace bertx {
namespace {

// Any integer type of safetensors -> i32
std::vector<std::int32_t> integers(const TensorEntry& entry, const std::string& where) {
  std::vector<std::int32_t> out(static_cast<std::size_t>(entry.elements()));
  const auto convert = [&]<class T>(const T* from) {
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (!std::in_range<std::int32_t>(from[i])) {
        fail(ErrorKind::bad_input, where, ": ", entry.name, ": found ", std::to_string(from[i]), " at element ", i,
             ", expected a 32-bit index");
      }
      out[i] = static_cast<std::int32_t>(from[i]);
    }
  };
  switch (entry.type) {
    case ElementType::i64: convert(static_cast<const std::int64_t*>(entry.data)); break;
    case ElementType::i32: convert(static_cast<const std::int32_t*>(entry.data)); break;
    case ElementType::i16: convert(static_cast<const std::int16_t*>(entry.data)); break;
    case ElementType::u16: convert(static_cast<const std::uint16_t*>(entry.data)); break;
    default:
      fail(ErrorKind::bad_input, where, ": ", entry.name, ": found type ", name_of(entry.type),
           ", expected I16, U16, I32 or I64");
  }
  return out;
}

CsrIndices from_bitmap(const TensorEntry& bitmap, std::int64_t out, std::int64_t in, const std::string& where) {
  const std::int64_t row_bytes = (in + 7) / 8;
  if (bitmap.type != ElementType::u8 || bitmap.shape != std::vector{out, row_bytes}) {
    fail(ErrorKind::bad_input, where, ": ", bitmap.name, ": found ", name_of(bitmap.type), " ", bitmap.shape_text(),
         ", expected U8 [", out, ", ", row_bytes, "]");
  }
  const auto* bytes = static_cast<const std::uint8_t*>(bitmap.data);
  CsrIndices indices;
  indices.row_start.reserve(static_cast<std::size_t>(out) + 1);
  indices.row_start.push_back(0);
  for (std::int64_t i = 0; i < out; ++i) {
    for (std::int64_t j = 0; j < row_bytes; ++j) {
      for (unsigned bits = bytes[i * row_bytes + j]; bits != 0; bits &= bits - 1) {
        const std::int64_t column = j * 8 + std::countr_zero(bits);
        if (column >= in) {
          fail(ErrorKind::bad_input, where, ": ", bitmap.name, ": row ", i, " has a bit at column ", column,
               ", expected columns below ", in);
        }
        indices.columns.push_back(static_cast<std::int32_t>(column));
      }
    }
    indices.row_start.push_back(static_cast<std::int32_t>(indices.columns.size()));
  }
  return indices;
}

}  // namespace

std::pair<std::int64_t, std::int64_t> read_csr_shape(const TensorEntry* shape, const std::string& name) {
  if (!shape || shape->type != ElementType::i64 || shape->shape != std::vector<std::int64_t>{2}) {
    fail(ErrorKind::bad_input, name, ".shape: found ", shape ? shape->shape_text() : "nothing", ", expected I64 [2]");
  }
  const auto* numbers = static_cast<const std::int64_t*>(shape->data);
  constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();
  if (numbers[0] < 0 || numbers[0] > most || numbers[1] < 0 || numbers[1] > most) {
    fail(ErrorKind::bad_input, name, ".shape: found [", numbers[0], ", ", numbers[1], "], expected two 31-bit sizes");
  }
  return {numbers[0], numbers[1]};
}

CsrIndices read_csr_indices(const CsrFileEntries& entries, std::int64_t out, std::int64_t in,
                            const std::string& where) {
  if (entries.shape) {
    const auto [rows, cols] = read_csr_shape(entries.shape, where);
    if (rows != out || cols != in) {
      fail(ErrorKind::bad_input, where, ".shape: found [", rows, ", ", cols, "], expected [", out, ", ", in,
           "] by config.json");
    }
  }
  if (entries.values->shape.size() != 1) {
    fail(ErrorKind::bad_input, where, ".values: found shape ", entries.values->shape_text(),
         ", expected one dimension");
  }
  CsrIndices indices;
  if (entries.bitmap && !entries.crow_indices && !entries.col_indices) {
    indices = from_bitmap(*entries.bitmap, out, in, where);
  } else if (!entries.bitmap && entries.crow_indices && entries.col_indices) {
    indices = {integers(*entries.crow_indices, where), integers(*entries.col_indices, where)};
  } else {
    fail(ErrorKind::bad_input, where, ": found values with", entries.crow_indices ? "" : "out", " .crow_indices, with",
         entries.col_indices ? "" : "out", " .col_indices and with", entries.bitmap ? "" : "out",
         " .bitmap; expected either both indices or a bitmap");
  }
  sparse::validate(out, in, indices.row_start, indices.columns, entries.values->elements(), where);
  return indices;
}

CsrFileForm csr_file_form(std::int64_t out, std::int64_t in, const std::int32_t* row_start,
                          const std::int32_t* columns) {
  const std::int64_t nnz = row_start[out], row_bytes = (in + 7) / 8;
  const bool narrow = in <= std::numeric_limits<std::int16_t>::max() + 1;
  CsrFileForm form;
  form.shape = {out, in};
  if (out * row_bytes < (out + 1) * 4 + nnz * (narrow ? 2 : 4)) {
    form.bitmap.assign(static_cast<std::size_t>(out * row_bytes), 0);
    for (std::int64_t i = 0; i < out; ++i) {
      for (std::int32_t n = row_start[i]; n < row_start[i + 1]; ++n) {
        std::uint8_t& byte = form.bitmap[static_cast<std::size_t>(i * row_bytes + columns[n] / 8)];
        byte = static_cast<std::uint8_t>(byte | 1u << (columns[n] % 8));
      }
    }
    return form;
  }
  form.row_start.assign(row_start, row_start + out + 1);
  if (narrow) {
    form.columns16.assign(columns, columns + nnz);
  } else {
    form.columns32.assign(columns, columns + nnz);
  }
  return form;
}

}  // namespace bertx
