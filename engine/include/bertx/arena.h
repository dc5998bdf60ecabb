// Memory of activations: taken by bumping a pointer, given back by rewinding to a mark.
#pragma once

#include <vector>

#include "bertx/tensor.h"

namespace bertx {

class Backend;

/// Forward takes, backward rewinds; after the first step of a size nothing is allocated any more. Not thread-safe:
/// each thread that runs a model has its own.
class Arena {
 public:
  explicit Arena(Backend& backend) : backend_(&backend) {}
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  struct Mark {
    std::size_t chunk = 0, used = 0, total = 0;
  };

  /// An activation [rows, cols] with uninitialised content; its stride is row_stride(cols, dtype).
  Tensor take(std::int64_t rows, std::int64_t cols, DType dtype);
  /// Holds at least `bytes` in one piece from now on. Nothing may be taken at this time.
  void reserve(std::size_t bytes);
  Mark mark() const { return now_; }
  /// Gives back everything taken since `mark`; tensors taken since then are dangling.
  void rewind(Mark mark);
  /// Gives back everything, and joins the chunks to one so that the next step of this size fits without a gap.
  void reset();

  std::size_t peak_bytes() const { return peak_; }          ///< most bytes in use at one time
  std::size_t reserved_bytes() const { return reserved_; }  ///< bytes held from the backend

 private:
  Backend* backend_;
  std::vector<Buffer> chunks_;
  Mark now_;
  std::size_t peak_ = 0, reserved_ = 0;
};

/// The stride of an activation of `cols` tokens: rounded up to 64 bytes, and never a multiple of 4096 bytes, where
/// rows would fall into the same cache sets.
std::int64_t row_stride(std::int64_t cols, DType dtype);

}  // namespace bertx
