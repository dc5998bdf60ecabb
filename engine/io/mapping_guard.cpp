// A file that another process shortens takes pages away from those who mapped it; the kernel says so by SIGBUS. Inside
// the handler almost nothing is allowed, so the list of mappings is a fixed array without locks.
#include "io/mapping_guard.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstring>

#include "bertx/error.h"
#include "bertx/safetensors.h"

namespace bertx {
namespace {

struct Slot {
  std::atomic<const char*> begin{nullptr};
  std::atomic<std::size_t> bytes{0};
  std::atomic<const char*> message{nullptr};
};

constexpr std::size_t kSlots = 1024;
Slot slots[kSlots];
struct sigaction previous;

/// Marks a slot as taken before its fields are valid.
const char reserved = 0;

void on_bus_error(int number, siginfo_t* info, void* context) {
  const auto* address = static_cast<const char*>(info->si_addr);
  for (const Slot& slot : slots) {
    const char* begin = slot.begin.load(std::memory_order_acquire);
    if (begin == nullptr || begin == &reserved) continue;
    if (address < begin || address >= begin + slot.bytes.load(std::memory_order_relaxed)) continue;
    const char* message = slot.message.load(std::memory_order_relaxed);
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, message, std::strlen(message));
    ::_exit(static_cast<int>(ErrorKind::io));
  }
  // Not ours: whoever was responsible before is so again.
  if ((previous.sa_flags & SA_SIGINFO) && previous.sa_sigaction) return previous.sa_sigaction(number, info, context);
  ::sigaction(SIGBUS, &previous, nullptr);
  ::raise(SIGBUS);
}

}  // namespace

bool guard_mapping(const void* begin, std::size_t bytes, const char* message) {
  for (Slot& slot : slots) {
    const char* expected = nullptr;
    if (!slot.begin.compare_exchange_strong(expected, &reserved)) continue;
    slot.bytes.store(bytes, std::memory_order_relaxed);
    slot.message.store(message, std::memory_order_relaxed);
    slot.begin.store(static_cast<const char*>(begin), std::memory_order_release);
    return true;
  }
  return false;
}

void unguard_mapping(const void* begin) {
  for (Slot& slot : slots) {
    const char* expected = static_cast<const char*>(begin);
    if (slot.begin.compare_exchange_strong(expected, nullptr)) return;
  }
}

void install_mapping_guard() {
  static std::atomic<bool> installed{false};
  if (installed.exchange(true)) return;
  struct sigaction action {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO;
  ::sigemptyset(&action.sa_mask);
  ::sigaction(SIGBUS, &action, &previous);
}

}  // namespace bertx
