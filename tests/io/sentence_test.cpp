// Directories of sentence-transformers.
#include "bertx/sentence.h"

#include <gtest/gtest.h>

#include "io_support.h"

namespace bertx::test {
namespace {

constexpr const char* kModules = R"([
  {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
  {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
  {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}])";

class Sentence : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directory(directory_ / "1_Pooling");
    write_bytes(directory_ / "modules.json", kModules);
    write_bytes(directory_ / "1_Pooling/config.json",
                R"({"word_embedding_dimension": 384, "pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true,
                    "pooling_mode_max_tokens": false, "pooling_mode_mean_sqrt_len_tokens": false})");
    write_bytes(directory_ / "sentence_bert_config.json", R"({"max_seq_length": 256, "do_lower_case": false})");
  }
  void expect_bad(const std::vector<std::string>& words) {
    expect_bad_input(words, [&] { read_sentence_config(directory_.path()); });
  }
  TempDir directory_;
};

TEST_F(Sentence, IsRead) {
  const auto config = read_sentence_config(directory_.path());
  ASSERT_TRUE(config);
  EXPECT_TRUE(config->pool_mean);
  EXPECT_FALSE(config->pool_cls || config->pool_max);
  EXPECT_TRUE(config->normalize);
  EXPECT_EQ(config->max_seq_length, 256);
  EXPECT_EQ(config->do_lower_case, false);
  fs::remove(directory_ / "sentence_bert_config.json");
  EXPECT_EQ(read_sentence_config(directory_.path())->max_seq_length, std::nullopt);
  fs::remove(directory_ / "modules.json");
  EXPECT_FALSE(read_sentence_config(directory_.path()));
}

TEST_F(Sentence, WhatIsRefused) {
  write_bytes(directory_ / "1_Pooling/config.json", R"({"pooling_mode_lasttoken": true})");
  expect_bad({"1_Pooling/config.json", "pooling_mode_lasttoken: found true"});
  write_bytes(directory_ / "1_Pooling/config.json", R"({"pooling_mode_cls_token": "yes"})");
  expect_bad({"pooling_mode_cls_token: found \"yes\" (string)", "true or false"});
  write_bytes(directory_ / "1_Pooling/config.json", "{}");
  expect_bad({"1_Pooling/config.json", "no pooling mode"});
  write_bytes(directory_ / "modules.json", R"([{"path": "2_Dense", "type": "sentence_transformers.models.Dense"}])");
  expect_bad({"modules.json: 0: type", "Dense"});
  write_bytes(directory_ / "modules.json", R"([{"path": "../../etc", "type": "x.Pooling"}])");
  expect_bad({"modules.json: 0: path: found \"../../etc\""});
  write_bytes(directory_ / "modules.json", "[]");
  expect_bad({"modules.json", "no module of type Pooling"});
  write_bytes(directory_ / "modules.json", "{}");
  expect_bad({"modules.json", "an array of modules"});
}

}  // namespace
}  // namespace bertx::test
