#include "cpu/pair_kernels.h"

#include "bertx/sparse/isa.h"

namespace bertx::sparse {

const PairKernels& active_pair_kernels() {
#define BERTX_PAIR_KERNELS(isa, lanes, block_tokens) \
  PairKernels { lanes, block_tokens, isa::pair_block_width, isa::pack_pair_tokens, isa::spmm_pair_cell }
#if defined(__x86_64__)
  static const PairKernels dot = BERTX_PAIR_KERNELS(avx512_bf16, 16, 64);
  if (active_bf16_dot()) return dot;
#endif
  static const PairKernels tables[] = {BERTX_PAIR_KERNELS(portable, 4, 32), BERTX_PAIR_KERNELS(avx2, 8, 64),
                                       BERTX_PAIR_KERNELS(avx512, 16, 64)};
#undef BERTX_PAIR_KERNELS
  return tables[static_cast<int>(active_isa())];
}

}  // namespace bertx::sparse
