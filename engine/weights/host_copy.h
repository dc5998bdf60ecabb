// Between vectors on the host and storage of a backend.
#pragma once

#include <vector>

#include "bertx/backend.h"

namespace bertx {

/// [1, n] on the backend, a copy of `host`.
template <class T>
Storage stored(Backend& backend, const std::vector<T>& host, DType dtype = dtype_of<T>) {
  const auto count = static_cast<std::int64_t>(host.size());
  const Storage storage = make_storage(backend, 1, count, dtype);
  if (count > 0) backend.upload(view(const_cast<T*>(host.data()), 1, count, dtype_of<T>), storage.tensor);
  return storage;
}

/// All of x, row by row; reals convert to T.
template <class T>
std::vector<T> downloaded(Backend& backend, Tensor x) {
  std::vector<T> host(static_cast<std::size_t>(x.size()));
  if (!host.empty()) backend.download(x, view(host.data(), x.rows, x.cols, dtype_of<T>));
  return host;
}

}  // namespace bertx
