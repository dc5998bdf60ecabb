// The product by rows: a warp, or a part of one, takes a row's nonzeros in turn and reads the strips of x that they
// meet straight from memory. Warps side by side walk their rows' columns at about the same pace, so the first-level
// cache serves most of it.
#include "cuda/numbers.cuh"

namespace bertx::sparse::cuda {
namespace {

template <class X>
struct Problem {
  std::int64_t rows, tokens;
  const std::int32_t *row_start, *columns, *order;
  const X* values;
  const X* x;
  int stride_bytes;
  Finish finish;
};

// Four blocks a multiprocessor: with more the compiler saves registers by waiting for one load before the next.
template <class X, int kLanes, int kTokens, bool kVectors>
__global__ __launch_bounds__(kRowThreads, 4) void rows_kernel(Problem<X> p) {
  const int thread = static_cast<int>(threadIdx.x);
  const std::int64_t place = static_cast<std::int64_t>(blockIdx.x) * (kRowThreads / kLanes) + thread / kLanes;
  if (place >= p.rows) return;
  const std::int64_t row = p.order != nullptr ? p.order[place] : place;
  const Strip<kLanes, kTokens, kVectors> strip(blockIdx.y, thread % kLanes, p.tokens);
  float sums[kTokens] = {};
  const auto add = [&](float value, const float(&x)[kTokens]) {
#pragma unroll
    for (int i = 0; i < kTokens; ++i) sums[i] += value * x[i];
  };
  const X* const x = p.x + strip.start();
  const auto load = [&](std::int32_t column, float(&to)[kTokens]) {
    strip.load(row_of(x, column, p.stride_bytes), to);
  };
  const auto add_one = [&](std::int32_t n) {
    float one[kTokens];
    load(p.columns[n], one);
    add(as_float(p.values[n]), one);
  };
  std::int32_t n = p.row_start[row];
  const std::int32_t end = p.row_start[row + 1];
  for (; n < end && n % 4 != 0; ++n) add_one(n);
  if (n + 4 <= end) {
    // Four at a time, whose loads do not wait for each other; columns and values are asked for one turn ahead.
    int4 c = *reinterpret_cast<const int4*>(p.columns + n);
    float v[4];
    load_numbers(p.values + n, v);
#pragma unroll 1
    for (bool more = true; more; n += 4) {
      more = n + 8 <= end;
      int4 next_c = c;
      float next_v[4] = {};
      if (more) {
        next_c = *reinterpret_cast<const int4*>(p.columns + n + 4);
        load_numbers(p.values + n + 4, next_v);
      }
      float strips[4][kTokens];
      load(c.x, strips[0]);
      load(c.y, strips[1]);
      load(c.z, strips[2]);
      load(c.w, strips[3]);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        add(v[i], strips[i]);
        v[i] = next_v[i];
      }
      c = next_c;
    }
  }
  for (; n < end; ++n) add_one(n);
  p.finish(row, strip, sums);
}

/// kTokens tokens at most: the lanes of a warp take a row's nonzeros in turn.
template <class X, int kTokens, bool kVectors>
__global__ __launch_bounds__(kRowThreads) void few_kernel(Problem<X> p) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const std::int64_t row =
      static_cast<std::int64_t>(blockIdx.x) * (kRowThreads / kWarp) + static_cast<int>(threadIdx.x) / kWarp;
  if (row >= p.rows) return;  // a whole warp
  float sums[kTokens] = {};
  const std::int32_t end = p.row_start[row + 1];
  for (std::int32_t n = p.row_start[row] + lane; n < end; n += kWarp) {
    const X* const from = row_of(p.x, p.columns[n], p.stride_bytes);
    const float value = as_float(p.values[n]);
    float x[kTokens];
    if constexpr (kVectors) {
      load_numbers(from, x);
    } else {
#pragma unroll
      for (int i = 0; i < kTokens; ++i) x[i] = as_float(from[i < p.tokens ? i : 0]);
    }
#pragma unroll
    for (int i = 0; i < kTokens; ++i) sums[i] += value * x[i];
  }
  const float sum = fold(sums, lane);
  const int token = fold_index<kTokens>(lane);
  if (lane % (kWarp / kTokens) == 0 && token < p.tokens) p.finish.store(row, token, sum);
}

template <class X, int kLanes, int kTokens, bool kVectors>
int launch_rows(Stream stream, const Problem<X>& p) {
  const std::int64_t tiles = divide_up(p.tokens, kLanes * kTokens);
  if (tiles > kMostTokenTiles) return cudaErrorInvalidConfiguration;
  const dim3 grid(static_cast<unsigned>(divide_up(p.rows, kRowThreads / kLanes)), static_cast<unsigned>(tiles));
  return launch(rows_kernel<X, kLanes, kTokens, kVectors>, grid, kRowThreads, 0, stream, p);
}

template <class X, int kTokens>
int launch_few(Stream stream, const Problem<X>& p, bool vectors) {
  const auto blocks = static_cast<unsigned>(divide_up(p.rows, kRowThreads / kWarp));
  if constexpr (kTokens >= 4) {
    if (vectors) return launch(few_kernel<X, kTokens, true>, blocks, kRowThreads, 0, stream, p);
  }
  return launch(few_kernel<X, kTokens, false>, blocks, kRowThreads, 0, stream, p);
}

template <class X>
int launch_form(Stream stream, const Problem<X>& p, bool vectors, Form form) {
  switch (form) {
    case Form::few:
      if (p.tokens > kFewTokens) return cudaErrorInvalidValue;
      if (p.tokens == 1) return launch_few<X, 1>(stream, p, vectors);
      if (p.tokens == 2) return launch_few<X, 2>(stream, p, vectors);
      if (p.tokens <= 4) return launch_few<X, 4>(stream, p, vectors);
      return launch_few<X, 8>(stream, p, vectors);
    case Form::rows_8: return vectors ? launch_rows<X, 8, 4, true>(stream, p) : launch_rows<X, 8, 4, false>(stream, p);
    case Form::rows_32: return launch_rows<X, 32, 1, false>(stream, p);
    case Form::rows_128:
      return vectors ? launch_rows<X, 32, 4, true>(stream, p) : launch_rows<X, 32, 4, false>(stream, p);
    case Form::rows_256:
      if constexpr (sizeof(X) == 2) {
        if (vectors) return launch_rows<X, 32, 8, true>(stream, p);
        return launch_rows<X, 32, 4, false>(stream, p);
      }
  }
  return cudaErrorInvalidValue;
}

template <class X>
int run(Stream stream, const Csr& w, Input x, Output y, std::int64_t tokens, const Epilogue& epilogue, Form form) {
  const std::int64_t stride_bytes = x.stride * static_cast<std::int64_t>(sizeof(X));
  if (stride_bytes > kMostStrideBytes) return cudaErrorInvalidValue;
  const Problem<X> p{w.rows,
                     tokens,
                     w.row_start,
                     w.columns,
                     w.order,
                     static_cast<const X*>(w.values),
                     static_cast<const X*>(x.data),
                     static_cast<int>(stride_bytes),
                     finish_of(y, epilogue)};
  return launch_form(stream, p, in_vectors(x.data, x.stride, sizeof(X)), form);
}

}  // namespace

int spmm(Stream stream, const Csr& w, Input x, Output y, std::int64_t tokens, const Epilogue& epilogue, Form form) {
  if (w.rows == 0 || tokens == 0) return cudaSuccess;
  if (w.number == Number::f32) return run<float>(stream, w, x, y, tokens, epilogue, form);
  return run<Bf16>(stream, w, x, y, tokens, epilogue, form);
}

// A device runs thousands of warps at once: fewer tokens a warp where there would be too few of them.
Form usual_form(std::int64_t rows, std::int64_t tokens, Number number) {
  constexpr std::int64_t kEnoughWarps = 4096;
  if (tokens <= kFewTokens) return Form::few;
  if (number == Number::bf16 && rows * divide_up(tokens, 256) >= 2 * kEnoughWarps) return Form::rows_256;
  if (rows * divide_up(tokens, 128) >= kEnoughWarps) return Form::rows_128;
  if (tokens <= 32 && rows >= 4 * kEnoughWarps) return Form::rows_8;
  return Form::rows_32;
}

}  // namespace bertx::sparse::cuda
