// Rows of tables become columns of activations; columns are picked out and put back.
#include <algorithm>
#include <array>

#include "backend/cpu/cpu.h"
#include "bertx/sparse/parallel.h"

namespace bertx {

namespace {

constexpr std::int64_t kMostLanes = 16;

/// The position of each token [T] in its sequence, in scratch of this thread.
const std::int32_t* positions(Tensor starts, std::int64_t tokens) {
  const std::int32_t* const start = starts.as<std::int32_t>();
  std::int32_t* const place = cpu::scratch<std::int32_t>(cpu::Scratch::marks, tokens);
  for (std::int64_t b = 0; b + 1 < starts.cols; ++b) {
    for (std::int32_t t = start[b]; t < start[b + 1]; ++t) place[t] = t - start[b];
  }
  return place;
}

/// Row `index[t]` of a table for each token t of a tile; of an empty table `otherwise`.
std::array<float*, kMostLanes> table_rows(Tensor table, const std::int32_t* index, std::int64_t tokens,
                                          float* otherwise = nullptr) {
  std::array<float*, kMostLanes> rows{};
  if (table.empty()) {
    rows.fill(otherwise);
    return rows;
  }
  for (std::int64_t t = 0; t < tokens; ++t) {
    assert(index[t] >= 0 && index[t] < table.rows);
    rows[static_cast<std::size_t>(t)] = table.as<float>() + index[t] * table.stride;
  }
  return rows;
}

}  // namespace

// X [F, T] = word [V, F][ids] + position [P, F][0…] + type [N, F][types]; a table that is not there is one row of zeros
void CpuBackend::embed(Tensor ids, Tensor types, Tensor starts, Tensor word, Tensor position, Tensor type, Tensor x) {
  const cpu::Kernels& kernels = cpu::active_kernels();
  float* zeros = nullptr;
  if (word.empty() || position.empty() || type.empty()) {
    zeros = cpu::scratch<float>(cpu::Scratch::sums, x.rows);
    std::fill_n(zeros, x.rows, 0.0f);
  }
  const std::int32_t* const place = positions(starts, x.cols);
  const std::int64_t lanes = kernels.lanes, tiles = (x.cols + lanes - 1) / lanes;
  sparse::parallel_ranges(tiles, cpu::row_grain(x.rows * lanes), [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t t = first * lanes; t < std::min(last * lanes, x.cols); t += lanes) {
      const std::int64_t tokens = std::min(lanes, x.cols - t);
      const auto words = table_rows(word, ids.as<std::int32_t>() + t, tokens, zeros);
      const auto places = table_rows(position, place + t, tokens, zeros);
      const auto kinds = table_rows(type, types.as<std::int32_t>() + t, tokens, zeros);
      kernels.embed(words.data(), places.data(), kinds.data(), tokens, {0, x.rows}, {x.as<float>() + t, x.stride});
    }
  });
}

// dword [V, F], dposition [P, F], dtype [N, F] += the columns of dX [F, T]. Threads take features, so that no two add
// to one element and the order of the tokens is kept.
void CpuBackend::embed_grad(Tensor ids, Tensor types, Tensor starts, Tensor dx, Tensor dword, Tensor dposition,
                            Tensor dtype) {
  const cpu::Kernels& kernels = cpu::active_kernels();
  const std::int32_t* const place = positions(starts, dx.cols);
  const std::int64_t lanes = kernels.lanes, blocks = (dx.rows + lanes - 1) / lanes;
  sparse::parallel_ranges(blocks, cpu::row_grain(dx.cols * lanes), [&](std::int64_t first, std::int64_t last) {
    const cpu::Range features{first * lanes, std::min(last * lanes, dx.rows)};
    for (std::int64_t t = 0; t < dx.cols; t += lanes) {
      const std::int64_t tokens = std::min(lanes, dx.cols - t);
      const auto add_to = [&](Tensor table, const std::int32_t* index) {
        if (table.empty()) return;
        const auto rows = table_rows(table, index + t, tokens);
        kernels.embed_grad({dx.as<float>() + t, dx.stride}, tokens, features, rows.data());
      };
      add_to(dword, ids.as<std::int32_t>());
      add_to(dposition, place);
      add_to(dtype, types.as<std::int32_t>());
    }
  });
}

// Y [F, n] = the columns index [1, n] of X [F, T]
void CpuBackend::gather_columns(Tensor x, Tensor index, Tensor y) {
  const std::int32_t* const column = index.as<std::int32_t>();
  sparse::parallel_ranges(x.rows, cpu::row_grain(y.cols), [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      const float* const from = x.as<float>() + i * x.stride;
      float* const to = y.as<float>() + i * y.stride;
      for (std::int64_t j = 0; j < y.cols; ++j) to[j] = from[column[j]];
    }
  });
}

// dX [F, T] = 0 but for the columns index [1, n], which sum dY [F, n]
void CpuBackend::gather_columns_grad(Tensor dy, Tensor index, Tensor dx) {
  const std::int32_t* const column = index.as<std::int32_t>();
  sparse::parallel_ranges(dx.rows, cpu::row_grain(dx.cols), [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      const float* const from = dy.as<float>() + i * dy.stride;
      float* const to = dx.as<float>() + i * dx.stride;
      std::fill_n(to, dx.cols, 0.0f);
      for (std::int64_t j = 0; j < dy.cols; ++j) to[column[j]] += from[j];
    }
  });
}

}  // namespace bertx
