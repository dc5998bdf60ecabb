#include "weights/count.h"

#include <vector>

namespace bertx {
namespace {

template <class T>
std::int64_t count(Tensor x) {
  std::int64_t found = 0;
  for (std::int64_t i = 0; i < x.rows; ++i) {
    const T* row = x.row_range(i, 1).as<T>();
    for (std::int64_t j = 0; j < x.cols; ++j) found += row[j] != T{0};
  }
  return found;
}

}  // namespace

std::int64_t count_nonzeros(Backend& backend, Tensor x) {
  std::vector<std::byte> copy;
  if (!backend.host_memory()) {
    copy.resize(static_cast<std::size_t>(x.size()) * size_of(x.dtype));
    const Tensor host = view(copy.data(), x.rows, x.cols, x.dtype);
    backend.download(x, host);
    x = host;
  }
  switch (x.dtype) {
    case DType::f32: return count<float>(x);
    case DType::f64: return count<double>(x);
    case DType::u8: return count<std::uint8_t>(x);
    default: return x.size();
  }
}

}  // namespace bertx
