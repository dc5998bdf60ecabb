// Iterative magnitude pruning (Han et al. 2015, 1506.02626): train, drop the smallest weights, train what is left, and
// so on. `rounds` prunings divide the training into rounds + 1 equal parts; each drops the same share of what is left,
// so that the last reaches the sparsity. What is pruned stays pruned.
//
// With `rewind` all weights go back, after each pruning, to the values that they had at that share of the first part
// (Frankle et al. 2019, 1903.01611: 0 is the beginning). Without it they go on; a learning rate that jumps back with
// each pruning (lr_scheduler_type sawtooth, sawtooth_epochs one part) is the rewinding that Renda, Frankle & Carbin
// 2020, 2003.02389, found as good. AdamW's moments go on in both.
//
// The values to go back to are part of each checkpoint, in a file of their own (TrainHook::save_files), as long as a
// pruning is still to come: without them a resumed training could not go on as the uninterrupted one does.
#include <cmath>

#include "bertx/error.h"
#include "pruning/methods.h"
#include "pruning/rewind.h"
#include "pruning/sensitivity.h"
#include "weights/host_copy.h"

namespace bertx::compress {
namespace {

constexpr const char* rewind_file = "hook_rewind.safetensors";

void rank_what_is_left(Backend& backend, Model& model, double sparsity, const Selection& how, const Recipe&) {
  std::vector<std::vector<float>> keys;
  std::vector<const float*> data;
  for (const MaskedMatrix& matrix : masked_matrices(model)) {
    const HostFloats w(backend, matrix.weight->parameter()->tensor());
    std::vector<float>& own = keys.emplace_back(static_cast<std::size_t>(matrix.weight->out() * matrix.weight->in()));
    const auto mask = downloaded<std::uint8_t>(backend, matrix.weight->mask().tensor);
    for (std::size_t i = 0; i < own.size(); ++i) own[i] = mask[i] ? std::abs(w.data()[i]) : -1.0f;
  }
  for (const std::vector<float>& own : keys) data.push_back(own.data());
  rank_masks(backend, model, sparsity, how, Key::value, data);
}

class IterativeMagnitude final : public TrainHook {
 public:
  IterativeMagnitude(const Recipe& recipe, const Calibration& calibration)
      : recipe_(recipe), selection_(recipe, calibration) {}

  void begin(Backend& backend, Model& model, const TrainState& state) override {
    mask_weights(backend, model, false);
    if (!state.resumed) selection_.measure(backend, model, rank_what_is_left);
    share_ = masked_share(backend, model);
  }

  void before_step(Backend& backend, Model& model, const TrainState& state) override {
    if (recipe_.rewind && state.step == step_at(*recipe_.rewind, state)) point_.take(backend, model);
    for (std::int64_t round = recipe_.rounds; round > 0; --round) {  // of several at one step the last
      if (state.step != step_at(static_cast<double>(round), state)) continue;
      prune(backend, model, round);
      return;
    }
  }

  void finish(Backend& backend, Model& model, const TrainState&) override { finalize_masks(backend, model); }

  std::string save() const override { return selection_.save(); }
  void load(const std::string& json) override { selection_.load(json); }
  void save_files(Backend&, const std::filesystem::path& checkpoint) const override {
    point_.save(checkpoint / rewind_file);
  }
  void load_files(Backend&, const std::filesystem::path& checkpoint) override { point_.load(checkpoint / rewind_file); }
  std::vector<std::pair<std::string, double>> figures() const override { return {{"sparsity", share_}}; }

 private:
  // So many parts of the training after its beginning.
  std::int64_t step_at(double parts, const TrainState& state) const {
    const double part = static_cast<double>(state.total_steps) / static_cast<double>(recipe_.rounds + 1);
    return std::min<std::int64_t>(std::llround(parts * part), state.total_steps - 1);
  }

  void prune(Backend& backend, Model& model, std::int64_t round) {
    const double done = static_cast<double>(round) / static_cast<double>(recipe_.rounds);
    const double sparsity = 1.0 - std::pow(1.0 - final_sparsity(recipe_), done);
    rank_what_is_left(backend, model, sparsity, selection_.how(), recipe_);
    share_ = masked_share(backend, model);
    if (!recipe_.rewind) return;
    if (!point_.is_set()) {
      fail(ErrorKind::bad_input, "rewind: found no ", rewind_file,
           " in the checkpoint that the training goes on from, expected one");
    }
    point_.restore(backend, model);
    if (round == recipe_.rounds) point_.clear();
  }

  Recipe recipe_;
  MeasuredSelection selection_;
  RewindPoint point_;
  double share_ = 0;
};

}  // namespace

std::unique_ptr<TrainHook> make_iterative_magnitude(const Recipe& recipe, const Calibration& calibration) {
  return std::make_unique<IterativeMagnitude>(recipe, calibration);
}

}  // namespace bertx::compress
