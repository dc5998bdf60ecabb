// A CSR matrix as tensors of a safetensors file (FORMAT.md): columns as integers, or as a bitmap where that is smaller.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "bertx/safetensors.h"

namespace bertx {

/// The tensors of one matrix; null where the file has none of that name.
struct CsrFileEntries {
  const TensorEntry* shape = nullptr;
  const TensorEntry* crow_indices = nullptr;
  const TensorEntry* col_indices = nullptr;
  const TensorEntry* bitmap = nullptr;
  const TensorEntry* values = nullptr;
};

struct CsrIndices {
  std::vector<std::int32_t> row_start, columns;
};

/// Reads and checks the pattern of a matrix [out, in]. Throws Error(bad_input); `where` begins its text.
CsrIndices read_csr_indices(const CsrFileEntries& entries, std::int64_t out, std::int64_t in, const std::string& where);

/// The content of "<name>.shape": rows, columns. Throws Error(bad_input).
std::pair<std::int64_t, std::int64_t> read_csr_shape(const TensorEntry* shape, const std::string& name);

/// What a matrix [out, in] with this pattern is written as, besides its values.
struct CsrFileForm {
  std::vector<std::int64_t> shape;
  std::vector<std::int32_t> row_start, columns32;  ///< the integer form …
  std::vector<std::int16_t> columns16;             ///< … with 16-bit columns where they fit
  std::vector<std::uint8_t> bitmap;  ///< or one bit an element, column j of a row at bit j % 8 of byte j / 8
};
/// Chooses the smaller form; only its members are filled.
CsrFileForm csr_file_form(std::int64_t out, std::int64_t in, const std::int32_t* row_start,
                          const std::int32_t* columns);

}  // namespace bertx
