// Masks as tensors of a safetensors file (FORMAT.md).
#pragma once

#include <cstdint>
#include <string>

#include "bertx/block_masked_weight.h"
#include "bertx/safetensors.h"

namespace bertx {

// All throw Error(bad_input); `where` (the file) begins its text.

/// The bits [rows, cols] of a mask, checked to be 0 or 1.
const std::uint8_t* read_bits(const TensorEntry& mask, std::int64_t rows, std::int64_t cols, const std::string& where);

/// "<name>.block"
struct BlockForm {
  BlockSize size;
  bool with_bias = false;           ///< the bias is masked, too
  std::int64_t rows = 0, cols = 0;  ///< blocks of the matrix
};
BlockForm read_block_form(const TensorEntry& block, std::int64_t out, std::int64_t in, const std::string& where);

/// What may be the scores of `form`: two dimensions, one number a block.
void check_block_scores(const TensorEntry* scores, const BlockForm& form, const std::string& name,
                        const std::string& where);

}  // namespace bertx
