// What knows of sequences and tokens: attention, embeddings, picked columns.
#include <optional>

#include "backend/cuda/cuda.h"

namespace bertx {

using cuda::bf16_matrix, cuda::const_matrix, cuda::dropout_mask, cuda::matrix, cuda::Scratch, cuda::shape_of;

namespace {

const std::int32_t* indices(Tensor x) { return x.as<std::int32_t>(); }

/// Without q, k and v.
cuda::Attention attention_of(AttentionShape shape, Tensor q, Tensor starts, Dropout dropout) {
  return {shape.heads, shape.head_dim, q.cols, starts.cols - 1, indices(starts), {}, {}, {}, dropout_mask(dropout)};
}
cuda::Attention attention_of(AttentionShape shape, Tensor q, Tensor k, Tensor v, Tensor starts, Dropout dropout) {
  cuda::Attention out = attention_of(shape, q, starts, dropout);
  out.q = const_matrix(q), out.k = const_matrix(k), out.v = const_matrix(v);
  return out;
}

/// Which tensor cores compute a head; none: f32 without them.
std::optional<cuda::Cores> cores_of(const CudaBackend& backend, AttentionShape shape) {
  if (shape.head_dim > cuda::kMostCoresHeadDim) return std::nullopt;
  if (backend.products() == DType::bf16) return cuda::Cores::bf16;
  if (backend.tf32()) return cuda::Cores::tf32;
  return std::nullopt;
}

/// The places of an index [n] that hold the same number, chained.
struct Chains {
  Chains(cuda::Device& device, Tensor index) : next(device, index.cols), repeats(device, index.cols) {
    cuda::occurrences(device.stream(), indices(index), index.cols, next.get(), repeats.get());
  }
  Scratch<std::int32_t> next;
  Scratch<std::uint8_t> repeats;
};

}  // namespace

void CudaBackend::attention(AttentionShape shape, Tensor q, Tensor k, Tensor v, Tensor starts, Dropout dropout,
                            Tensor context, Tensor log_sum_exp) {
  if (q.dtype == DType::bf16) return attention_of_bf16(shape, q, k, v, starts, dropout, context, log_sum_exp);
  const cuda::Attention a = attention_of(shape, q, k, v, starts, dropout);
  if (const auto cores = cores_of(*this, shape)) {
    cuda::attention_by_cores(device_.stream(), *cores, a, matrix(context), matrix(log_sum_exp));
  } else {
    cuda::attention(device_.stream(), a, matrix(context), matrix(log_sum_exp));
  }
}

// Heads that are too large for tensor cores are computed in f32.
void CudaBackend::attention_of_bf16(AttentionShape shape, Tensor q, Tensor k, Tensor v, Tensor starts, Dropout dropout,
                                    Tensor context, Tensor log_sum_exp) {
  if (shape.head_dim <= cuda::kMostCoresHeadDim) {
    return cuda::attention_of_bf16(device_.stream(), attention_of(shape, q, starts, dropout), bf16_matrix(q),
                                   bf16_matrix(k), bf16_matrix(v), bf16_matrix(context), matrix(log_sum_exp));
  }
  const auto wide = [&](Tensor x) {
    const Storage out = make_storage(*this, x.rows, x.cols, DType::f32);
    cuda::from_bf16(device_.stream(), bf16_matrix(x), shape_of(x), matrix(out.tensor));
    return out;
  };
  const Storage queries = wide(q), keys = wide(k), values = wide(v),
                sums = make_storage(*this, context.rows, context.cols, DType::f32);
  attention(shape, queries.tensor, keys.tensor, values.tensor, starts, dropout, sums.tensor, log_sum_exp);
  cuda::to_bf16(device_.stream(), const_matrix(sums.tensor), shape_of(context), bf16_matrix(context));
}

void CudaBackend::attention_grad(AttentionShape shape, Tensor q, Tensor k, Tensor v, Tensor starts, Dropout dropout,
                                 Tensor context, Tensor log_sum_exp, Tensor dcontext, Tensor dq, Tensor dk, Tensor dv) {
  const cuda::Attention a = attention_of(shape, q, k, v, starts, dropout);
  const Scratch<float> delta(device_, shape.heads * q.cols);
  cuda::attention_delta(device_.stream(), a, const_matrix(context), const_matrix(dcontext), delta.get());
  const cuda::AttentionGrad g{
      const_matrix(log_sum_exp), const_matrix(dcontext), delta.get(), matrix(dq), matrix(dk), matrix(dv)};
  if (const auto cores = cores_of(*this, shape)) {
    cuda::attention_grad_by_cores(device_.stream(), *cores, a, g);
  } else {
    cuda::attention_grad(device_.stream(), a, g);
  }
}

void CudaBackend::segment_dot(Tensor a, Tensor b, Tensor starts, Tensor out) {
  assert(out.rows == 0 || a.rows % out.rows == 0);
  cuda::segment_dot(device_.stream(), const_matrix(a), const_matrix(b), indices(starts), matrix(out), shape_of(out),
                    out.rows == 0 ? 0 : a.rows / out.rows);
}

void CudaBackend::embed(Tensor ids, Tensor types, Tensor starts, Tensor word, Tensor position, Tensor type, Tensor x) {
  cuda::embed(device_.stream(), {indices(ids), indices(types), indices(starts), x.cols, starts.cols - 1},
              const_matrix(word), const_matrix(position), const_matrix(type), matrix(x), x.rows);
}

// dX [F, T] is turned to [T, F] once, so that what is added to a row of a table lies side by side.
void CudaBackend::embed_grad(Tensor ids, Tensor types, Tensor starts, Tensor dx, Tensor dword, Tensor dposition,
                             Tensor dtype) {
  if (dx.size() == 0) return;
  const cuda::Tokens tokens{indices(ids), indices(types), indices(starts), dx.cols, starts.cols - 1};
  if (!dword.empty() || !dposition.empty()) {
    const Scratch<float> rows(device_, dx.size());
    const cuda::Matrix by_token{rows.get(), dx.rows};
    cuda::transposed(device_.stream(), const_matrix(dx), shape_of(dx), by_token);
    if (!dword.empty()) {
      const Chains chains(device_, ids);
      cuda::embed_rows_grad(device_.stream(), tokens.ids, chains.next.get(), chains.repeats.get(), tokens.count,
                            {by_token.data, by_token.stride}, matrix(dword), dx.rows);
    }
    if (!dposition.empty()) {
      cuda::embed_position_grad(device_.stream(), tokens, {by_token.data, by_token.stride}, matrix(dposition),
                                shape_of(dposition));
    }
  }
  if (!dtype.empty()) {
    cuda::embed_type_grad(device_.stream(), tokens, const_matrix(dx), matrix(dtype), shape_of(dtype));
  }
}

void CudaBackend::gather_columns(Tensor x, Tensor index, Tensor y) {
  if (x.dtype == DType::bf16) {
    cuda::gather_columns(device_.stream(), bf16_matrix(x), indices(index), bf16_matrix(y), shape_of(y));
  } else {
    cuda::gather_columns(device_.stream(), const_matrix(x), indices(index), matrix(y), shape_of(y));
  }
}

void CudaBackend::gather_columns_grad(Tensor dy, Tensor index, Tensor dx) {
  fill(dx, 0);
  if (dy.size() == 0) return;
  const Chains chains(device_, index);
  cuda::gather_columns_grad(device_.stream(), const_matrix(dy), indices(index), chains.next.get(), chains.repeats.get(),
                            matrix(dx), shape_of(dy));
}

}  // namespace bertx
