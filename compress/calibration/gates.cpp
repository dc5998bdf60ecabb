#include "calibration/gates.h"

#include <numeric>

#include "calibration/seeing.h"
#include "weights/host_copy.h"

namespace bertx::compress {
namespace {

/// Sums activation · gradient over the features of each gate and the tokens of each text.
class Gates {
 public:
  Gates(Backend& backend, bool per_token) : backend_(backend), arena_(backend), per_token_(per_token) {}

  void begin(const Pass& pass) {
    arena_.reset();
    pass_ = &pass;
    one_by_one_.resize(static_cast<std::size_t>(pass.batch.tokens()) + 1);
    std::iota(one_by_one_.begin(), one_by_one_.end(), 0);
  }

  // a, da [features, T], or [features, B] of the first tokens
  void tell(const GatesSeen& seen, std::size_t layer, std::int64_t gates, Tensor a, Tensor da) {
    if (gates == 0) return;
    const Arena::Mark mark = arena_.mark();
    Exec exec{backend_, arena_};
    const bool whole_texts = !per_token_ && a.cols == pass_->batch.tokens();
    const Tensor starts =
        whole_texts ? pass_->starts : exec.integers(std::span(one_by_one_).first(static_cast<std::size_t>(a.cols) + 1));
    const Tensor sums = exec.take(gates, starts.cols - 1);
    backend_.segment_dot(a, da, starts, sums);
    const std::vector<double> host = downloaded<double>(backend_, sums);
    seen({layer, pass_->first, sums.cols, host});
    arena_.rewind(mark);
  }

 private:
  Backend& backend_;
  Arena arena_;
  bool per_token_;
  const Pass* pass_ = nullptr;
  std::vector<std::int32_t> one_by_one_;  // starts of texts of one token
};

}  // namespace

void run_gates(Backend& backend, Model& model, const Calibration& calibration, std::int64_t batch_size, bool per_token,
               const GatesSeen& heads, const GatesSeen& neurons) {
  model.refresh(backend);  // packed weights have no backward pass
  model.drop_gradients();
  Gates gates(backend, per_token);
  const ContextProbe probe = [&](int index, Tensor context, Tensor dcontext) {
    const auto layer = static_cast<std::size_t>(index);
    gates.tell(heads, layer, model.layers[layer].shape.heads, context, dcontext);
  };
  Seeing seeing;
  for (std::size_t i = 0; i < model.layers.size() && neurons; ++i) {
    seeing.add(model.layers[i].ffn_out, {.backward = [&gates, &neurons, i](Tensor active, Tensor dactive) {
                 gates.tell(neurons, i, active.rows, active, dactive);
               }});
  }
  run_backward(
      backend, model, calibration, batch_size, heads ? &probe : nullptr, [&](const Pass& pass) { gates.begin(pass); },
      nullptr);
}

}  // namespace bertx::compress
