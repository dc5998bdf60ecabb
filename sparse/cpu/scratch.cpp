#include "cpu/scratch.h"

#include <memory>
#include <new>

#include "bertx/error.h"

namespace bertx::sparse {
namespace {

constexpr std::align_val_t kAlignment{64};

struct Release {
  void operator()(float* data) const { ::operator delete(data, kAlignment); }
};

struct Room {
  std::unique_ptr<float, Release> data;
  std::int64_t count = 0;
};

}  // namespace

float* scratch(Scratch kind, std::int64_t count) {
  thread_local Room rooms[3];
  Room& room = rooms[static_cast<int>(kind)];
  if (count > room.count) {
    room = Room{};
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(float);
    void* const data = ::operator new(bytes, kAlignment, std::nothrow);
    if (data == nullptr) fail(ErrorKind::out_of_memory, "a sparse product needs ", bytes, " bytes for a token block");
    room.data.reset(static_cast<float*>(data));
    room.count = count;
  }
  return room.data.get();
}

}  // namespace bertx::sparse
