#include "model/mask_file.h"

#include <algorithm>

#include "bertx/error.h"

namespace bertx {
namespace {

template <class... What>
[[noreturn]] void refuse(const std::string& where, const TensorEntry& entry, const What&... what) {
  fail(ErrorKind::bad_input, where, ": tensor ", entry.name, ": ", what...);
}

}  // namespace

const std::uint8_t* read_bits(const TensorEntry& mask, std::int64_t rows, std::int64_t cols, const std::string& where) {
  if (mask.shape != std::vector{rows, cols}) {
    refuse(where, mask, "found shape ", mask.shape_text(), ", expected [", rows, ", ", cols, "]");
  }
  if (mask.type != ElementType::u8 && mask.type != ElementType::boolean) {
    refuse(where, mask, "found type ", name_of(mask.type), ", expected U8 or BOOL");
  }
  const auto* bits = static_cast<const std::uint8_t*>(mask.data);
  const auto* bad = std::find_if(bits, bits + mask.bytes, [](std::uint8_t b) { return b > 1; });
  if (bad != bits + mask.bytes) {
    refuse(where, mask, "found ", int{*bad}, " at element ", bad - bits, ", expected 0 or 1");
  }
  return bits;
}

BlockForm read_block_form(const TensorEntry& block, std::int64_t out, std::int64_t in, const std::string& where) {
  if (block.type != ElementType::i64 || block.shape != std::vector<std::int64_t>{3}) {
    refuse(where, block, "found ", name_of(block.type), " ", block.shape_text(), ", expected I64 [3]");
  }
  const auto* n = static_cast<const std::int64_t*>(block.data);
  if (n[0] < 1 || n[1] < 1 || n[2] < 0 || n[2] > 1) {
    refuse(where, block, "found ", n[0], ", ", n[1], ", ", n[2], ", expected height, width and 0 or 1");
  }
  return {{n[0], n[1]}, n[2] == 1, blocks_of(out, n[0]), blocks_of(in, n[1])};
}

void check_block_scores(const TensorEntry* scores, const BlockForm& form, const std::string& name,
                        const std::string& where) {
  const std::int64_t blocks = form.rows * form.cols;
  if (!scores) fail(ErrorKind::bad_input, where, ": tensor ", name, " is missing, expected ", blocks, " scores");
  if (scores->shape.size() != 2 || scores->elements() != blocks) {
    refuse(where, *scores, "found shape ", scores->shape_text(), ", expected two dimensions and ", blocks,
           " scores, one a block");
  }
}

}  // namespace bertx
