// tokenize, predict and inspect: what they print, for people and for scripts.
#include <signal.h>
#include <sys/stat.h>

#include <chrono>
#include <thread>

#include "command.h"

namespace bertx::test {
namespace {

std::vector<Json> json_lines(const std::string& text) {
  std::vector<Json> out;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) out.push_back(Json::parse(line));
  return out;
}

class StreamsTest : public ToolsTest {
 protected:
  void SetUp() override {
    ToolsTest::SetUp();
    classifier = write_tiny_model(place / "classifier", {"no", "yes", "may\"be\xc3\xa9"}).string();
  }
  std::string classifier;
};

TEST_F(StreamsTest, TokenizeGivesIdsAndTypes) {
  const Outcome outcome = bertx({"tokenize", "--model", model}, {"The film was\nGOOD films\r\n\nzebra", {}, ""});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto lines = json_lines(outcome.out);
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0]["ids"], Json({2, 14, 15, 18, 3}));
  EXPECT_EQ(lines[1]["ids"], Json({2, 5, 15, 24, 3}));
  EXPECT_EQ(lines[2]["ids"], Json({2, 3}));
  EXPECT_EQ(lines[3]["ids"], Json({2, 1, 3}));
  EXPECT_EQ(lines[0]["type_ids"], Json({0, 0, 0, 0, 0}));
}

TEST_F(StreamsTest, TokenizePairsLimitsAndOffsets) {
  const Process pair{"the film\tgood", {}, ""};
  const auto pairs = json_lines(bertx({"tokenize", "--model", model, "--pair", "--offsets"}, pair).out);
  ASSERT_EQ(pairs.size(), 1u);
  EXPECT_EQ(pairs[0]["ids"], Json({2, 14, 15, 3, 5, 3}));
  EXPECT_EQ(pairs[0]["type_ids"], Json({0, 0, 0, 0, 1, 1}));
  EXPECT_EQ(pairs[0]["offsets"], Json({{0, 0}, {0, 3}, {4, 8}, {0, 0}, {0, 4}, {0, 0}}));
  const auto cut = json_lines(bertx({"tokenize", "--model", model, "--max_length", "3"}, pair).out);
  EXPECT_EQ(cut[0]["ids"], Json({2, 14, 3}));  // without --pair a tab is a blank
  EXPECT_EQ(bertx({"tokenize", "--model", model, "--max_length", "1"}, pair).code, 2);
  const Outcome no_tab = bertx({"tokenize", "--model", model, "--pair"}, {"one\ttwo\nalone\n", {}, ""});
  EXPECT_EQ(no_tab.code, 3);
  EXPECT_HAS(no_tab.err, "line 2");
}

TEST_F(StreamsTest, PredictGivesALineForEachText) {
  const Outcome outcome =
      bertx({"predict", "--model", classifier, "--json"}, {"the film was good\nbad\tvery awful\n\nthe play", {}, ""});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto lines = json_lines(outcome.out);
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0]["tokens"], 6);
  EXPECT_EQ(lines[1]["tokens"], 6);
  EXPECT_EQ(lines[2]["tokens"], 2);
  const std::vector<std::string> names{"no", "yes", "may\"be\xc3\xa9"};
  for (const Json& line : lines) {
    const auto logits = line["logits"].get<std::vector<double>>();
    ASSERT_EQ(logits.size(), 3u);
    const auto best = std::max_element(logits.begin(), logits.end());
    EXPECT_EQ(line["label"], names[static_cast<std::size_t>(best - logits.begin())]);
    double sum = 0;
    for (const double x : logits) sum += std::exp(x - *best);
    EXPECT_NEAR(line["score"].get<double>(), 1 / sum, 1e-6);
  }
  EXPECT_NE(lines[0]["logits"], lines[3]["logits"]);
}

TEST_F(StreamsTest, AnswersDoNotDependOnTheBatch) {
  std::string texts;
  for (int i = 0; i < 9; ++i)
    texts += std::string(i % 2 ? "the film was " : "a very ") + (i % 3 ? "good\n" : "dull play\n");
  const auto one = json_lines(bertx({"predict", "--model", classifier, "--batch_size", "1"}, {texts, {}, ""}).out);
  const auto all = json_lines(bertx({"predict", "--model", classifier, "--batch_size", "9"}, {texts, {}, ""}).out);
  ASSERT_EQ(one.size(), 9u);
  ASSERT_EQ(all.size(), 9u);
  for (std::size_t i = 0; i < 9; ++i) {
    EXPECT_EQ(one[i]["label"], all[i]["label"]);
    for (std::size_t l = 0; l < 3; ++l) {
      EXPECT_NEAR(one[i]["logits"][l].get<double>(), all[i]["logits"][l].get<double>(), 1e-5);
    }
  }
}

TEST_F(StreamsTest, PredictAnswersBeforeTheInputEnds) {
  const fs::path pipe = place / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const pid_t child = start_bertx(place, {"predict", "--model", classifier, "--input", pipe.string()});
  std::ofstream writer(pipe);
  writer << "the film was good\n" << std::flush;
  bool answered = false;
  for (int i = 0; i < 600 && !answered; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    answered = contains(read_all(place / "stdout"), "\n");
  }
  EXPECT_TRUE(answered) << read_all(place / "stderr");
  writer << "bad\n" << std::flush;
  writer.close();
  EXPECT_EQ(wait_for(child), 0);
  EXPECT_EQ(json_lines(read_all(place / "stdout")).size(), 2u);
}

TEST_F(StreamsTest, PredictRefusesWhatItCannotAnswer) {
  EXPECT_EQ(bertx({"predict", "--model", model}, {"good\n", {}, ""}).code, 3);
  const Outcome tabs = bertx({"predict", "--model", classifier}, {"good\na\tb\tc\n", {}, ""});
  EXPECT_EQ(tabs.code, 3);
  EXPECT_HAS(tabs.err, "line 2");
  EXPECT_EQ(bertx({"predict", "--model", classifier, "--max_seq_length", "41"}).code, 2);
  const Outcome hostile =
      bertx({"predict", "--model", classifier},
            {std::string("\xff\xfe\x00 \xc0\x80 good\n", 12) + std::string(70000, 'x') + "\n", {}, ""});
  EXPECT_EQ(hostile.code, 0) << hostile.err;
  EXPECT_EQ(json_lines(hostile.out).size(), 2u);
  EXPECT_EQ(bertx({"predict", "--model", classifier}).out, "");
}

TEST_F(StreamsTest, InspectReportsShapesZerosAndBytes) {
  const Json dense = bertx({"inspect", model, "--json", "--length", "10"}).json();
  EXPECT_EQ(dense["num_hidden_layers"], 2);
  EXPECT_EQ(dense["layers"][1], Json({{"heads", 4}, {"head_dim", 8}, {"ffn", 64}}));
  EXPECT_EQ(dense["matrices"].size(), 12u);
  EXPECT_EQ(dense["encoder"]["elements"], 2 * (4 * 32 * 32 + 2 * 32 * 64));
  EXPECT_EQ(dense["multiplies"]["linear"], 10 * 2 * (4 * 32 * 32 + 2 * 32 * 64));
  EXPECT_EQ(dense["multiplies"]["attention"], 2 * 2 * 32 * 10 * 10);
  EXPECT_EQ(dense["weight_file_bytes"], fs::file_size(model + "/model.safetensors"));
  EXPECT_EQ(dense["encoder"]["bytes"], dense["encoder"]["dense_bytes"]);

  ASSERT_EQ(bertx({"prune", "--model", model, "--sparsity", "0.75", "--output_dir", (place / "thin").string()}).code,
            0);
  const Json thin = bertx({"inspect", (place / "thin").string(), "--json"}).json();
  EXPECT_EQ(thin["kinds"], Json({{"csr", 12}}));
  EXPECT_EQ(thin["encoder"]["sparsity"], 0.75);
  for (const Json& matrix : thin["matrices"]) EXPECT_EQ(matrix["sparsity"], 0.75);
  EXPECT_LT(thin["encoder"]["bytes"].get<double>(), 0.6 * dense["encoder"]["bytes"].get<double>());
  EXPECT_HAS(bertx({"inspect", (place / "thin").string()}).out, "75.0 % zeros");
}

}  // namespace
}  // namespace bertx::test
