// From texts to ragged batches, and the order in which training takes them.
#include <cassert>
#include <numeric>
#include <utility>

#include "bertx/dataset.h"
#include "bertx/tokenizer.h"

namespace bertx {

std::vector<EncodedExample> encode(const Tokenizer& tokenizer, std::span<const Example> examples, int max_length,
                                   int threads) {
  std::vector<TextView> texts;
  texts.reserve(examples.size());
  for (const Example& example : examples) {
    texts.push_back({example.text_a, std::nullopt});
    if (example.pair) texts.back().second = example.text_b;
  }
  std::vector<Encoding> encodings = tokenizer.encode_batch(texts, max_length, threads);
  std::vector<EncodedExample> result(examples.size());
  for (std::size_t i = 0; i < examples.size(); ++i) {
    result[i] = {std::move(encodings[i].ids), std::move(encodings[i].type_ids), examples[i].label, examples[i].target,
                 examples[i].classes};
  }
  return result;
}

std::vector<EncodedExample> encode(const Tokenizer& tokenizer, const Dataset& data, int max_length, int threads) {
  return encode(tokenizer, std::span<const Example>(data.examples), max_length, threads);
}

// -> ids, types [T], starts [B + 1], labels [B] or targets [B] or [labels, B]
Batch collate(std::span<const EncodedExample> examples, std::span<const std::int64_t> indices, LabelKind kind,
              std::int64_t labels) {
  const std::size_t count = indices.size();
  const auto at = [&](std::size_t b) -> const EncodedExample& {
    assert(indices[b] >= 0 && indices[b] < static_cast<std::int64_t>(examples.size()));
    return examples[static_cast<std::size_t>(indices[b])];
  };
  std::size_t tokens = 0;
  for (std::size_t b = 0; b < count; ++b) tokens += at(b).ids.size();

  Batch batch;
  batch.examples.assign(indices.begin(), indices.end());
  batch.ids.reserve(tokens);
  batch.types.reserve(tokens);
  batch.starts.reserve(count + 1);
  batch.starts.push_back(0);
  for (std::size_t b = 0; b < count; ++b) {
    const EncodedExample& example = at(b);
    batch.ids.insert(batch.ids.end(), example.ids.begin(), example.ids.end());
    batch.types.insert(batch.types.end(), example.types.begin(), example.types.end());
    batch.starts.push_back(static_cast<std::int32_t>(batch.ids.size()));
  }
  switch (kind) {
    case LabelKind::none: break;
    case LabelKind::single_label:
      for (std::size_t b = 0; b < count; ++b) batch.labels.push_back(at(b).label);
      break;
    case LabelKind::regression:
      for (std::size_t b = 0; b < count; ++b) batch.targets.push_back(at(b).target);
      break;
    case LabelKind::multi_label:
      batch.targets.assign(static_cast<std::size_t>(labels) * count, 0.0f);
      for (std::size_t b = 0; b < count; ++b) {
        for (const std::int32_t c : at(b).classes) {
          assert(c >= 0 && c < labels);
          batch.targets[static_cast<std::size_t>(c) * count + b] = 1.0f;
        }
      }
      break;
  }
  return batch;
}

namespace {

// Steele, Lea and Flood's SplitMix64: every state gives another 64 well mixed bits.
struct SplitMix64 {
  std::uint64_t state;

  std::uint64_t next() {
    state += 0x9e3779b97f4a7c15u;
    std::uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  // Uniform in [0, bound): what would favour small values is drawn again.
  std::uint64_t below(std::uint64_t bound) {
    const std::uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
    for (;;) {
      if (const std::uint64_t value = next(); value < limit) return value % bound;
    }
  }
};

}  // namespace

std::vector<std::int64_t> Sampler::epoch(std::int64_t number) const {
  std::vector<std::int64_t> order(static_cast<std::size_t>(count_));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  // The seed is mixed before the epoch joins, so that (seed, epoch + 1) and (seed + 1, epoch) are unrelated.
  SplitMix64 random{SplitMix64{seed_}.next() ^ static_cast<std::uint64_t>(number)};
  random.state = random.next();
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  return order;
}

}  // namespace bertx
