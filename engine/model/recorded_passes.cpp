#include "bertx/recorded_passes.h"

#include <algorithm>

#include "core/environment.h"

namespace bertx {
namespace {

// Beyond so many tokens the products of a pass take longer than its launches. Reckoned, not measured: a launch is some
// 2.5 microseconds, and BERT-base has 180 MFLOP a token.
constexpr std::int64_t kMostTokens = 1024;
constexpr std::size_t kMostPasses = 256;

std::vector<std::int32_t> packed(const Batch& batch) {
  std::vector<std::int32_t> out;
  out.reserve(batch.ids.size() + batch.types.size() + batch.starts.size());
  for (const auto* part : {&batch.ids, &batch.types, &batch.starts}) out.insert(out.end(), part->begin(), part->end());
  return out;
}

void upload_packed(Backend& backend, const Batch& batch, Tensor to) {
  std::vector<std::int32_t> host = packed(batch);
  backend.upload(view(host.data(), 1, to.cols, DType::i32), to);
}

BatchTensors parts_of(Tensor packed, std::int64_t tokens) {
  return {packed.col_range(0, tokens), packed.col_range(tokens, tokens),
          packed.col_range(2 * tokens, packed.cols - 2 * tokens)};
}

}  // namespace

RecordedPasses::RecordedPasses(Backend& backend, const Model& model)
    : backend_(backend), model_(model), wanted_(switched_on("BERTX_GRAPHS")), arena_(backend) {}

void RecordedPasses::record(Pass& pass, const Batch& batch) {
  arena_.rewind({});
  pass.packed = arena_.take(1, 2 * batch.tokens() + batch.sequences() + 1, DType::i32);
  upload_packed(backend_, batch, pass.packed);
  const Arena::Mark mark = arena_.mark();
  const auto run = [&] {
    arena_.rewind(mark);
    Exec exec{backend_, arena_};
    pass.logits = model_.forward(exec, parts_of(pass.packed, batch.tokens()));
  };
  run();  // takes the memory and makes the plans
  pass.recording = backend_.record(run);
}

Tensor RecordedPasses::forward(Exec& exec, const Batch& batch) {
  const bool plain = exec.backend.host_memory() || exec.dropout || exec.all_tokens || exec.probe || exec.tap;
  if (!wanted_ || plain || batch.tokens() > kMostTokens) return model_.forward(exec, batch);
  model_.check(batch);
  if (passes_.size() >= kMostPasses) passes_.clear();
  Pass& pass = passes_[{batch.tokens(), batch.sequences()}];
  if (++pass.seen == 2) record(pass, batch);
  if (!pass.recording) return model_.forward(exec, batch);
  upload_packed(backend_, batch, pass.packed);
  pass.recording->run();
  // The next pass overwrites the logits where they are.
  const Tensor logits = exec.take(pass.logits.rows, pass.logits.cols);
  backend_.copy(pass.logits, logits);
  return logits;
}

std::size_t RecordedPasses::recorded() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(passes_, [](const auto& pass) { return pass.second.recording != nullptr; }));
}

}  // namespace bertx
