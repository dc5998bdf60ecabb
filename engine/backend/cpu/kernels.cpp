#include "backend/cpu/kernels.h"

#include "bertx/sparse/isa.h"

namespace bertx::cpu {

const Kernels& active_kernels() {
#define BERTX_KERNELS(isa, lanes)                                                                                   \
  Kernels {                                                                                                         \
    lanes, isa::query_block, isa::bias_activation, isa::activation_grad, isa::row_sums, isa::bias_dropout_residual, \
        isa::apply_dropout, isa::add, isa::dot, isa::layer_norm, isa::layer_norm_grad, isa::layer_norm_param_grad,  \
        isa::attention_scratch, isa::attention, isa::attention_grad_scratch, isa::attention_grad,                   \
        isa::relation_scratch, isa::relation, isa::embed, isa::embed_grad, isa::softmax_sums, isa::softmax_grad,    \
        isa::transposed, isa::few_tokens, isa::few_tokens_bf16, isa::to_bf16, isa::round_to_bf16, isa::adamw,       \
        isa::sum_of_squares, isa::mask_apply, isa::mask_grad, isa::sigmoid_penalty                                  \
  }
  static const Kernels tables[] = {BERTX_KERNELS(portable, 4), BERTX_KERNELS(avx2, 8), BERTX_KERNELS(avx512, 16)};
#undef BERTX_KERNELS
  return tables[static_cast<int>(sparse::active_isa())];
}

}  // namespace bertx::cpu
