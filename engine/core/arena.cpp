#include "bertx/arena.h"

#include <algorithm>

#include "bertx/backend.h"
#include "bertx/error.h"

namespace bertx {
namespace {

constexpr std::int64_t kAlignment = 64;  // bytes: a cache line and the widest vector
constexpr std::int64_t kAlias = 4096;    // bytes: addresses this far apart share a cache set
constexpr std::size_t kFirstChunk = std::size_t{1} << 20;

std::size_t bytes_of(std::int64_t rows, std::int64_t stride, DType dtype) {
  std::int64_t elements = 0, bytes = 0;
  if (__builtin_mul_overflow(rows, stride, &elements) ||
      __builtin_mul_overflow(elements, static_cast<std::int64_t>(size_of(dtype)), &bytes)) {
    fail(ErrorKind::out_of_memory, "an activation of ", rows, " rows and ", stride,
         " columns exceeds the address space");
  }
  return static_cast<std::size_t>(bytes);
}

}  // namespace

Tensor Arena::take(std::int64_t rows, std::int64_t cols, DType dtype) {
  assert(rows >= 0 && cols >= 0);
  const std::int64_t stride = row_stride(cols, dtype);
  const std::size_t bytes = bytes_of(rows, stride, dtype);  // a multiple of 64: so is the stride

  Mark next = now_;
  while (next.chunk < chunks_.size() && chunks_[next.chunk].bytes - next.used < bytes) {
    ++next.chunk;
    next.used = 0;
  }
  if (next.chunk == chunks_.size()) {
    // By an eighth: a few dozen chunks until the first step is through, and little held that is never used.
    chunks_.push_back(backend_->allocate(std::max({bytes, kFirstChunk, reserved_ / 8 / kAlignment * kAlignment})));
    reserved_ += chunks_.back().bytes;
  }
  std::byte* data = static_cast<std::byte*>(chunks_[next.chunk].data.get()) + next.used;
  next.used += bytes;
  next.total += bytes;
  now_ = next;
  peak_ = std::max(peak_, now_.total);
  return {data, rows, cols, stride, dtype};
}

void Arena::reserve(std::size_t bytes) {
  assert(now_.total == 0);
  if (chunks_.size() == 1 && chunks_.front().bytes >= bytes) return;
  chunks_.clear();
  chunks_.push_back(backend_->allocate(bytes));
  reserved_ = chunks_.back().bytes;
}

void Arena::rewind(Mark mark) {
  assert(mark.total <= now_.total);
  now_ = mark;
}

void Arena::reset() {
  now_ = {};
  if (chunks_.size() <= 1) return;
  chunks_.clear();  // first given back, then taken: never both at a time
  reserved_ = 0;
  // An eighth more than was needed: the next batches differ a little in length and should fit as well.
  const std::size_t slack = peak_ / 8 / kAlignment * kAlignment;
  chunks_.push_back(backend_->allocate(peak_ + slack));
  reserved_ = chunks_.back().bytes;
}

std::int64_t row_stride(std::int64_t cols, DType dtype) {
  const std::int64_t size = static_cast<std::int64_t>(size_of(dtype));
  std::int64_t bytes = (std::max<std::int64_t>(cols, 1) * size + kAlignment - 1) / kAlignment * kAlignment;
  if (bytes % kAlias == 0) bytes += kAlignment;
  return bytes / size;
}

}  // namespace bertx
