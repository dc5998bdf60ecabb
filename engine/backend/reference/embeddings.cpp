// Rows of tables become columns of activations; columns are picked out and put back.
#include "backend/reference/reference.h"

namespace bertx {

using reference::at, reference::index_at;

// X [F, T] = word [V, F][ids] + position [P, F][0…] + type [N, F][types], of those that are there
void ReferenceBackend::embed(Tensor ids, Tensor types, Tensor starts, Tensor word, Tensor position, Tensor type,
                             Tensor x) {
  for (std::int64_t b = 0; b + 1 < starts.cols; ++b) {
    const std::int64_t first = index_at(starts, b);
    for (std::int64_t t = first; t < index_at(starts, b + 1); ++t) {
      for (std::int64_t i = 0; i < x.rows; ++i) {
        double sum = 0;
        if (!word.empty()) sum += at(word, index_at(ids, t), i);
        if (!position.empty()) sum += at(position, t - first, i);
        if (!type.empty()) sum += at(type, index_at(types, t), i);
        at(x, i, t) = sum;
      }
    }
  }
}

// dword [V, F], dposition [P, F], dtype [N, F] += the columns of dX [F, T]
void ReferenceBackend::embed_grad(Tensor ids, Tensor types, Tensor starts, Tensor dx, Tensor dword, Tensor dposition,
                                  Tensor dtype) {
  for (std::int64_t b = 0; b + 1 < starts.cols; ++b) {
    const std::int64_t first = index_at(starts, b);
    for (std::int64_t t = first; t < index_at(starts, b + 1); ++t) {
      for (std::int64_t i = 0; i < dx.rows; ++i) {
        if (!dword.empty()) at(dword, index_at(ids, t), i) += at(dx, i, t);
        if (!dposition.empty()) at(dposition, t - first, i) += at(dx, i, t);
        if (!dtype.empty()) at(dtype, index_at(types, t), i) += at(dx, i, t);
      }
    }
  }
}

// Y [F, n] = the columns index [1, n] of X [F, T]
void ReferenceBackend::gather_columns(Tensor x, Tensor index, Tensor y) {
  for (std::int64_t i = 0; i < x.rows; ++i) {
    for (std::int64_t j = 0; j < y.cols; ++j) at(y, i, j) = at(x, i, index_at(index, j));
  }
}

// dX [F, T] = 0 but for the columns index [1, n], which sum dY [F, n]
void ReferenceBackend::gather_columns_grad(Tensor dy, Tensor index, Tensor dx) {
  fill(dx, 0);
  for (std::int64_t i = 0; i < dx.rows; ++i) {
    for (std::int64_t j = 0; j < dy.cols; ++j) at(dx, i, index_at(index, j)) += at(dy, i, j);
  }
}

}  // namespace bertx
