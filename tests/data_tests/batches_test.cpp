// From examples to token ids, ragged batches, and the order of training.
#include <algorithm>
#include <numeric>

#include "bertx/tokenizer.h"
#include "files.h"

namespace bertx::test {
namespace {

using Ids = std::vector<std::int32_t>;

const Tokenizer& tokenizer() {
  static const Tokenizer all({"[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "c"});
  return all;
}

Dataset examples() {
  Dataset data;
  data.kind = LabelKind::single_label;
  data.labels = {"x", "y"};
  data.examples.resize(3);
  data.examples[0].text_a = "a b";
  data.examples[0].label = 1;
  data.examples[1].text_a = "c";
  data.examples[1].text_b = "a b c";
  data.examples[1].pair = true;
  data.examples[1].label = 0;
  data.examples[1].target = 2.5f;
  data.examples[2].pair = true;  // both texts empty
  data.examples[2].classes = {0, 2};
  return data;
}

TEST(Encode, SinglesAndPairs) {
  const auto encoded = encode(tokenizer(), examples(), 16);
  ASSERT_EQ(encoded.size(), 3u);
  EXPECT_EQ(encoded[0].ids, (Ids{2, 4, 5, 3}));
  EXPECT_EQ(encoded[0].types, (Ids{0, 0, 0, 0}));
  EXPECT_EQ(encoded[1].ids, (Ids{2, 6, 3, 4, 5, 6, 3}));
  EXPECT_EQ(encoded[1].types, (Ids{0, 0, 0, 1, 1, 1, 1}));
  EXPECT_EQ(encoded[2].ids, (Ids{2, 3, 3}));
  EXPECT_EQ(encoded[0].label, 1);
  EXPECT_EQ(encoded[1].target, 2.5f);
  EXPECT_EQ(encoded[2].classes, (Ids{0, 2}));
}

TEST(Encode, TruncatesAPairUntilOneSideIsGone) {
  const auto encoded = encode(tokenizer(), examples(), 4);
  EXPECT_EQ(encoded[0].ids, (Ids{2, 4, 5, 3}));
  EXPECT_EQ(encoded[1].ids.size(), 4u);
  EXPECT_EQ(std::count(encoded[1].ids.begin(), encoded[1].ids.end(), 3), 2);
}

TEST(Encode, DoesNotDependOnThreads) {
  Dataset data;
  RandomSource random(3);
  for (int i = 0; i < 200; ++i) {
    Example& example = data.examples.emplace_back();
    for (std::int64_t n = random.integer(0, 20); n > 0; --n)
      example.text_a += " " + std::string(1, "abc"[random.integer(0, 2)]);
    example.label = i;
  }
  const auto one = encode(tokenizer(), data, 12, 1), four = encode(tokenizer(), data, 12, 4);
  for (std::size_t i = 0; i < one.size(); ++i) {
    EXPECT_EQ(one[i].ids, four[i].ids);
    EXPECT_EQ(one[i].label, static_cast<std::int32_t>(i));
  }
}

TEST(Collate, PacksSequencesOneAfterTheOther) {
  const auto encoded = encode(tokenizer(), examples(), 16);
  const std::int64_t indices[] = {2, 0};
  const Batch batch = collate(encoded, indices, LabelKind::single_label, 2);
  EXPECT_EQ(batch.ids, (Ids{2, 3, 3, 2, 4, 5, 3}));
  EXPECT_EQ(batch.types, (Ids{0, 0, 1, 0, 0, 0, 0}));
  EXPECT_EQ(batch.starts, (Ids{0, 3, 7}));
  EXPECT_EQ(batch.labels, (Ids{-100, 1}));
  EXPECT_TRUE(batch.targets.empty());
  EXPECT_EQ(batch.sequences(), 2);
}

TEST(Collate, TargetsByKind) {
  const auto encoded = encode(tokenizer(), examples(), 16);
  const std::int64_t indices[] = {0, 1, 2};
  EXPECT_EQ(collate(encoded, indices, LabelKind::regression, 0).targets, (std::vector<float>{0, 2.5f, 0}));
  EXPECT_EQ(collate(encoded, indices, LabelKind::multi_label, 3).targets,
            (std::vector<float>{0, 0, 1, 0, 0, 0, 0, 0, 1}));  // [labels, B]
  EXPECT_FALSE(collate(encoded, indices, LabelKind::none, 0).labelled());
  EXPECT_EQ(collate(encoded, {}, LabelKind::single_label, 2).sequences(), 0);
}

// The orders are those of the same algorithm in another language, so that a resumed run goes on anywhere.
TEST(Sampler, OrderIsAFunctionOfSeedAndEpoch) {
  using Order = std::vector<std::int64_t>;
  const Sampler sampler(10, 42);
  EXPECT_EQ(sampler.epoch(1), (Order{9, 0, 5, 3, 7, 2, 8, 1, 6, 4}));
  EXPECT_EQ(sampler.epoch(0), (Order{6, 1, 8, 5, 2, 7, 4, 3, 9, 0}));
  EXPECT_EQ(Sampler(10, 43).epoch(0), (Order{2, 1, 8, 0, 6, 3, 4, 7, 9, 5}));
  EXPECT_TRUE(Sampler(0, 1).epoch(0).empty());
  EXPECT_EQ(Sampler(1, 1).epoch(5), Order{0});
}

TEST(Sampler, EveryEpochIsAPermutation) {
  const Sampler sampler(1000, 7);
  std::vector<std::int64_t> all(1000);
  std::iota(all.begin(), all.end(), 0);
  for (const std::int64_t epoch : {0, 1, 2}) {
    auto order = sampler.epoch(epoch);
    EXPECT_NE(order, all);
    std::sort(order.begin(), order.end());
    EXPECT_EQ(order, all);
  }
}

// Each of the 24 orders of four is as likely as another: chi-square with 23 degrees of freedom, p = 0.001 at 49.7.
TEST(Sampler, OrdersAreEquallyLikely) {
  std::vector<std::int64_t> counts(256);
  constexpr int kDraws = 24000;
  for (int epoch = 0; epoch < kDraws; ++epoch) {
    const auto order = Sampler(4, 5).epoch(epoch);
    ++counts[static_cast<std::size_t>(order[0] * 64 + order[1] * 16 + order[2] * 4 + order[3])];
  }
  double chi_square = 0;
  int seen = 0;
  for (const std::int64_t count : counts) {
    if (count == 0) continue;
    ++seen;
    chi_square += static_cast<double>((count - 1000) * (count - 1000)) / 1000;
  }
  EXPECT_EQ(seen, 24);
  EXPECT_LT(chi_square, 49.7);
}

}  // namespace
}  // namespace bertx::test
