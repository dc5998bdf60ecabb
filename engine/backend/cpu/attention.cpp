// Self-attention within each sequence: threads take heads, sequences and blocks of queries.
#include <algorithm>
#include <cmath>

#include "backend/cpu/cpu.h"
#include "bertx/sparse/parallel.h"

namespace bertx {

namespace {

/// One head of one sequence: features from `row`, tokens [first, last); the block's queries begin at `query`.
struct Piece {
  std::int64_t head, row, first, last, query;
};

/// Calls body(piece) on all threads for each head, sequence and block of `queries` (all of a sequence where 0).
/// Heads change slowest, so that a thread's share holds sequences of all lengths.
template <class Body>
void for_pieces(AttentionShape shape, Tensor starts, std::int64_t queries, const Body& body) {
  const std::int32_t* const start = starts.as<std::int32_t>();
  const std::int64_t sequences = starts.cols - 1;
  const auto blocks_of = [&](std::int64_t b) -> std::int64_t {
    const std::int64_t length = start[b + 1] - start[b];
    return queries == 0 ? length > 0 : (length + queries - 1) / queries;
  };
  std::int64_t blocks = 0;
  for (std::int64_t b = 0; b < sequences; ++b) blocks += blocks_of(b);
  sparse::parallel_ranges(shape.heads * blocks, 1, [&](std::int64_t begin, std::int64_t end) {
    std::int64_t item = begin / blocks * blocks;
    for (std::int64_t head = begin / blocks; item < end; ++head) {
      for (std::int64_t b = 0; b < sequences && item < end; ++b) {
        for (std::int64_t block = 0; block < blocks_of(b) && item < end; ++block, ++item) {
          if (item >= begin)
            body(Piece{head, head * shape.head_dim, start[b], start[b + 1], start[b] + block * queries});
        }
      }
    }
  });
}

cpu::ConstMatrix const_at(Tensor x, std::int64_t row, std::int64_t token) {
  return {x.as<float>() + row * x.stride + token, x.stride};
}
cpu::Matrix at(Tensor x, std::int64_t row, std::int64_t token) {
  return {x.as<float>() + row * x.stride + token, x.stride};
}

float score_scale(AttentionShape shape) {
  return static_cast<float>(1 / std::sqrt(static_cast<double>(shape.head_dim)));
}

}  // namespace

// q, k, v, context [H·D, T]; log_sum_exp [H, T]
void CpuBackend::attention(AttentionShape shape, Tensor q, Tensor k, Tensor v, Tensor starts, Dropout dropout,
                           Tensor context, Tensor log_sum_exp) {
  const cpu::Kernels& kernels = cpu::active_kernels();
  if (shape.head_dim == 0) return;
  for_pieces(shape, starts, kernels.query_block, [&](const Piece& p) {
    const std::int64_t keys = p.last - p.first;
    const cpu::AttentionBlock block{const_at(q, p.row, p.query),
                                    const_at(k, p.row, p.first),
                                    const_at(v, p.row, p.first),
                                    shape.head_dim,
                                    keys,
                                    std::min(kernels.query_block, p.last - p.query),
                                    score_scale(shape),
                                    cpu::dropout_mask(dropout),
                                    p.head * q.cols + p.first,
                                    p.query,
                                    at(context, p.row, p.query),
                                    log_sum_exp.empty() ? nullptr : at(log_sum_exp, p.head, p.query).data};
    kernels.attention(block,
                      cpu::scratch<float>(cpu::Scratch::kernel, kernels.attention_scratch(shape.head_dim, keys)));
  });
}

// all [H·D, T] but log_sum_exp [H, T]
void CpuBackend::attention_grad(AttentionShape shape, Tensor q, Tensor k, Tensor v, Tensor starts, Dropout dropout,
                                Tensor context, Tensor log_sum_exp, Tensor dcontext, Tensor dq, Tensor dk, Tensor dv) {
  const cpu::Kernels& kernels = cpu::active_kernels();
  if (shape.head_dim == 0) return;
  for_pieces(shape, starts, 0, [&](const Piece& p) {
    const std::int64_t tokens = p.last - p.first;
    const cpu::AttentionGradBlock block{const_at(q, p.row, p.first),
                                        const_at(k, p.row, p.first),
                                        const_at(v, p.row, p.first),
                                        const_at(context, p.row, p.first),
                                        const_at(dcontext, p.row, p.first),
                                        const_at(log_sum_exp, p.head, p.first).data,
                                        shape.head_dim,
                                        tokens,
                                        score_scale(shape),
                                        cpu::dropout_mask(dropout),
                                        p.head * q.cols + p.first,
                                        p.first,
                                        at(dq, p.row, p.first),
                                        at(dk, p.row, p.first),
                                        at(dv, p.row, p.first)};
    kernels.attention_grad(
        block, cpu::scratch<float>(cpu::Scratch::kernel, kernels.attention_grad_scratch(shape.head_dim, tokens)));
  });
}

// out [groups, B] = Σ a·b over the rows of a group and the tokens of a sequence; a, b [F, T]
void CpuBackend::segment_dot(Tensor a, Tensor b, Tensor starts, Tensor out) {
  const std::int64_t rows = out.rows == 0 ? 0 : a.rows / out.rows;
  assert(rows * out.rows == a.rows);
  const std::int32_t* const start = starts.as<std::int32_t>();
  auto* const kernel = cpu::active_kernels().dot;
  sparse::parallel_ranges(out.rows, cpu::row_grain(rows * a.cols), [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t group = first; group < last; ++group) {
      for (std::int64_t s = 0; s < out.cols; ++s) {
        const double sum = kernel(const_at(a, group * rows, start[s]), const_at(b, group * rows, start[s]), {0, rows},
                                  start[s + 1] - start[s]);
        out.as<float>()[group * out.stride + s] = static_cast<float>(sum);
      }
    }
  });
}

}  // namespace bertx
