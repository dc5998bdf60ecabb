#include "cpu/kernels.h"

#include "bertx/sparse/isa.h"

namespace bertx::sparse {

const Kernels& active_kernels() {
#define BERTX_KERNELS(isa, lanes)                                                                             \
  Kernels {                                                                                                   \
    lanes, 8 * lanes, isa::block_width, isa::pack_tokens, isa::unpack_tokens, isa::spmm_rows, isa::spmm_cell, \
        isa::sddmm_rows, isa::sddmm_cell, isa::add                                                            \
  }
  static const Kernels tables[] = {BERTX_KERNELS(portable, 4), BERTX_KERNELS(avx2, 8), BERTX_KERNELS(avx512, 16)};
#undef BERTX_KERNELS
  return tables[static_cast<int>(active_isa())];
}

}  // namespace bertx::sparse
