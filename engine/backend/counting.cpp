#include "backend/counting.h"

#include <sys/mman.h>

#include <algorithm>

#include "bertx/error.h"

namespace bertx {

// Addresses without pages behind them: touching one ends the process instead of giving a wrong number.
Buffer CountingBackend::allocate(std::size_t bytes) {
  const std::size_t length = std::max<std::size_t>(bytes, 1);
  void* const data = ::mmap(nullptr, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) fail(ErrorKind::out_of_memory, "no addresses left for ", bytes, " bytes");
  return {std::shared_ptr<void>(data, [length](void* p) { ::munmap(p, length); }), bytes};
}

}  // namespace bertx
