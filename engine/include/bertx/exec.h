// What one run of a model needs beside the model: a backend, an arena, and the seed of this step's dropout.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "bertx/arena.h"
#include "bertx/backend.h"

namespace bertx {

struct Exec;

/// Called during backward with each layer's attention context [H·D, T] and its gradient, e.g. for head importance.
using ContextProbe = std::function<void(int layer, Tensor context, Tensor dcontext)>;

/// Called during backward where a loss looks at what is inside of the encoder (distillation). What it is given is as
/// forward made it, also under gradient checkpointing; to the gradients it may add.
class LayerTap {
 public:
  virtual ~LayerTap() = default;
  /// y [H, T] leaves `layer`, or the embeddings (-1), and dy is its gradient. Of a last layer that a pooler reads they
  /// are [H, B] unless Exec::all_tokens is set.
  virtual void output(Exec& exec, int layer, Tensor y, Tensor starts, Tensor dy) = 0;
  /// q, k, v [H·D, T] of `layer` with their gradients.
  virtual void attention(Exec& exec, int layer, AttentionShape shape, Tensor q, Tensor k, Tensor v, Tensor starts,
                         Tensor dq, Tensor dk, Tensor dv) = 0;
};

/// One per thread and per run; the model itself stays const in forward.
struct Exec {
  Backend& backend;
  Arena& arena;
  bool dropout = false;    ///< dropout acts (training)
  std::uint64_t seed = 0;  ///< of this step; equal seeds give equal masks
  std::uint32_t next_site = 0;
  const ContextProbe* probe = nullptr;
  LayerTap* tap = nullptr;
  /// The last layer is run for all tokens, also where a pooler reads the first ones only.
  bool all_tokens = false;
  /// Gradient checkpointing: forward keeps each layer's input only, and backward runs the layer once more. Same bits.
  bool recompute = false;

  /// The dropout of the next place in the order of the forward pass; identity outside training.
  Dropout next_dropout(float p) {
    const std::uint32_t site = next_site++;
    if (!dropout || p <= 0.0f) return {};
    std::uint64_t x = seed + 0x9E3779B97F4A7C15ull * (site + 1);  // splitmix64
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    return {p, x ^ (x >> 31)};
  }
  /// An activation [rows, cols] from the arena.
  Tensor take(std::int64_t rows, std::int64_t cols) { return take(rows, cols, backend.real()); }
  Tensor take(std::int64_t rows, std::int64_t cols, DType dtype) { return arena.take(rows, cols, dtype); }
  /// [1, n] in backend memory; a view of `host` where the backend reads host memory, so `host` must outlive its use.
  Tensor integers(std::span<const std::int32_t> host);
  /// The same for floats, converted to the real type of the backend: [rows, cols].
  Tensor reals(std::span<const float> host, std::int64_t rows, std::int64_t cols);
};

}  // namespace bertx
