// SIGINT and SIGTERM: the first one is a request that loops honour at their next safe point, the second one ends the
// process at once.
#pragma once

namespace bertx {

/// While one lives, SIGINT and SIGTERM are noted instead of ending the process. After the first signal the former
/// handlers are back, so a second signal acts as it would have without us. One at a time; made by main(), not by loops.
class SignalScope {
 public:
  SignalScope();
  ~SignalScope();
  SignalScope(const SignalScope&) = delete;
  SignalScope& operator=(const SignalScope&) = delete;
};

/// The signal that arrived, or 0. train() and evaluate() ask after every batch; long work elsewhere asks, too.
int pending_signal();
/// As if `signal` had arrived; a library user's way to stop a training from another thread.
void request_stop(int signal);
void clear_pending_signal();

}  // namespace bertx
