// Word embeddings as two factors.
#include <gtest/gtest.h>

#include "factors_fixture.h"

namespace bertx::compress {
namespace {

using test::logits_of;

Matrix table_of(Backend& backend, const Model& model) {
  const Matrix word = matrix_of(backend, model.embeddings.word->tensor());
  if (!model.embeddings.projection) return word;
  return word * matrix_of(backend, model.embeddings.projection->tensor());
}

TEST(FactoredEmbedding, AtFullRankTheLogitsAreAsTheyWere) {
  for (const char* name : {"reference", "cpu"}) {
    const auto backend = make_backend(name);
    for (const test::TinyHead& head : test::tiny_heads()) {
      Model model = make_model(*backend, test::tiny_config(head), 3);
      test::randomise_vectors(*backend, model, 4);
      const Batch batch = test::tiny_batch(model, 5);
      const std::vector<double> before = logits_of(*backend, model, batch);
      compress_now(*backend, model, factors("embedding", 12, true));
      ASSERT_NE(model.embeddings.projection, nullptr);
      EXPECT_LT(largest_difference(logits_of(*backend, model, batch), before), name[0] == 'c' ? 1e-3 : 1e-10)
          << name << " " << head.name;
    }
  }
}

TEST(FactoredEmbedding, HasTheNumbersOfItsFactorsAndIsTheBestOfItsRank) {
  const auto backend = make_reference_backend();
  Model model = tiny_model(*backend);
  const Matrix before = table_of(*backend, model);
  const std::int64_t numbers = model.parameter_count();
  compress_now(*backend, model, factors("embedding", 4));
  EXPECT_EQ(model.parameter_count(), numbers - 23 * 12 + 4 * (23 + 12));
  EXPECT_EQ(model.embeddings.word->tensor().cols, 4);
  const Eigen::VectorXd energies = decompose(before, plain_metric()).energies;
  EXPECT_NEAR((before - table_of(*backend, model)).squaredNorm(), energies.tail(8).sum(), 1e-10);
  // Once more, of what is a product already.
  compress_now(*backend, model, factors("embedding", 2));
  EXPECT_EQ(model.embeddings.word->tensor().cols, 2);
  EXPECT_NEAR((before - table_of(*backend, model)).squaredNorm(), energies.tail(10).sum(), 1e-10);
}

TEST(FactoredEmbedding, WordsOfTheTextsCountAsOftenAsTheyComeUp) {
  const auto backend = make_reference_backend();
  Model plain = tiny_model(*backend), weighted = tiny_model(*backend);
  const Matrix before = table_of(*backend, plain);
  std::vector<EncodedExample> texts(3);
  for (EncodedExample& text : texts) text.ids.assign(50, 7), text.types.assign(50, 0);
  compress_now(*backend, plain, factors("embedding", 3));
  compress_now(*backend, weighted, factors("embedding", 3), {texts, LabelKind::single_label});
  const Matrix left_plain = before - table_of(*backend, plain), left = before - table_of(*backend, weighted);
  EXPECT_LT(left.row(7).norm(), 0.1 * left_plain.row(7).norm());
  Eigen::VectorXd counts = Eigen::VectorXd::Ones(23);
  counts[7] += 150;
  const Matrix weights = counts.asDiagonal();
  EXPECT_LT(squared_error(left.transpose(), weights), squared_error(left_plain.transpose(), weights));
  EXPECT_GT(left.squaredNorm(), left_plain.squaredNorm());
}

TEST(FactoredEmbedding, StaysFrozenWhereItWas) {
  const auto backend = make_reference_backend();
  Model model = tiny_model(*backend);
  model.embeddings.word->frozen = true;
  compress_now(*backend, model, factors("embedding", 4));
  EXPECT_TRUE(model.embeddings.word->frozen && model.embeddings.projection->frozen);
  model.zero_gradients(*backend);
  EXPECT_TRUE(model.embeddings.word->gradient().empty());
}

TEST(FactoredEmbedding, RanksThatItHasNotAreRefused) {
  const auto backend = make_reference_backend();
  Model model = tiny_model(*backend);
  const std::string above = refusal(*backend, model, factors("embedding", 13, true));
  EXPECT_NE(above.find("rank: found 13, expected at most 12, the full rank of the word embeddings [23, 12]"),
            std::string::npos)
      << above;
  const std::string larger = refusal(*backend, model, factors("embedding", 8));
  EXPECT_NE(larger.find("rank: found 8, expected at most 7"), std::string::npos) << larger;
  const std::string by_default = refusal(*backend, model, {.method = "embedding"});
  EXPECT_NE(by_default.find("rank: found 128"), std::string::npos) << by_default;
  std::vector<EncodedExample> texts(1);
  texts[0].ids = {23}, texts[0].types = {0};
  const std::string unknown = refusal(*backend, model, factors("embedding", 4), {texts, LabelKind::single_label});
  EXPECT_NE(unknown.find("token id 23, expected ids below 23"), std::string::npos) << unknown;
  EXPECT_EQ(model.embeddings.projection, nullptr);
  compress_now(*backend, model, factors("embedding", 4));
  const std::string again = refusal(*backend, model, factors("embedding", 5, true));
  EXPECT_NE(again.find("rank: found 5, expected at most 4"), std::string::npos) << again;
}

}  // namespace
}  // namespace bertx::compress
