// SIGINT and SIGTERM noted in a flag; async-signal-safe calls only inside the handler.
#include "bertx/signals.h"

#include <signal.h>

#include <atomic>

namespace bertx {
namespace {

constexpr int kSignals[] = {SIGINT, SIGTERM};

std::atomic<int> pending{0};
static_assert(std::atomic<int>::is_always_lock_free, "a handler may touch lock-free atomics only");
struct sigaction former[2];
bool replaced[2] = {false, false};

void restore() {
  for (int i = 0; i < 2; ++i) {
    if (replaced[i]) sigaction(kSignals[i], &former[i], nullptr);
    replaced[i] = false;
  }
}

void note(int signal) {
  pending.store(signal);
  restore();  // a second signal of either kind is not ours any more
}

}  // namespace

SignalScope::SignalScope() {
  clear_pending_signal();
  struct sigaction action = {};
  action.sa_handler = note;
  action.sa_flags = SA_RESTART;  // a file being written is not cut short
  sigemptyset(&action.sa_mask);
  for (const int signal : kSignals) sigaddset(&action.sa_mask, signal);
  for (int i = 0; i < 2; ++i) {
    sigaction(kSignals[i], nullptr, &former[i]);
    if (former[i].sa_handler == SIG_IGN) continue;  // started in the background: stays deaf to it, as is the custom
    replaced[i] = true;
    sigaction(kSignals[i], &action, nullptr);
  }
}

SignalScope::~SignalScope() { restore(); }

int pending_signal() { return pending.load(); }
void request_stop(int signal) { pending.store(signal); }
void clear_pending_signal() { pending.store(0); }

}  // namespace bertx
