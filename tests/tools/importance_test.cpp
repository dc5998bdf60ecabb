// bertx importance: tables, files, drawings, and how rankings are compared.
#include "command.h"

namespace bertx::test {
namespace {

class ImportanceTest : public ToolsTest {
 protected:
  void SetUp() override {
    ToolsTest::SetUp();
    classifier = write_tiny_model(place / "classifier", {"negative", "positive"}).string();
  }
  std::vector<std::string> arguments(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> out{"importance", "--model", classifier, "--validation_file", validation_file};
    out.insert(out.end(), more.begin(), more.end());
    return out;
  }
  /// A file with one set of two layers.
  std::string file(const std::string& name, const std::string& heads, const std::string& data,
                   const std::string& seed) {
    write_all(place / name, R"({"bertx_importance": 1, "sets": [{"model": "m", "data": ")" + data +
                                R"(", "split": "validation", "per": "example", "texts": 3, "seed": )" + seed +
                                R"(, "heads": )" + heads + "}]}");
    return (place / name).string();
  }
  /// A square a head.
  static std::size_t squares_of(const std::string& drawing) {
    std::size_t found = 0;
    for (std::size_t at = 0; (at = drawing.find("<rect x=", at)) != std::string::npos; ++at) ++found;
    return found;
  }
  std::string classifier;
};

TEST_F(ImportanceTest, TableFileAndDrawing) {
  const std::string json = (place / "own.json").string(), plot = (place / "own.svg").string();
  const Outcome table =
      bertx(arguments({"--output", json, "--plot", plot, "--neurons", "--model_seed", "5", "--data_name", "own"}));
  ASSERT_EQ(table.code, 0) << table.err;
  EXPECT_HAS(table.out, "own (validation), 24 texts: importance of heads per example");
  EXPECT_HAS(table.out, "head 3");
  EXPECT_HAS(table.out, "hold half");

  const Json set = Json::parse(read_all(json)).at("sets").at(0);
  EXPECT_EQ(set["seed"], 5);
  EXPECT_EQ(set["data"], "own");
  EXPECT_EQ(set["texts"], 24);
  ASSERT_EQ(set["heads"].size(), 2u);
  double sum = 0;
  for (const Json& layer : set["heads"]) {
    ASSERT_EQ(layer.size(), 4u);
    for (const Json& head : layer) sum += head.get<double>();
  }
  EXPECT_GT(sum, 0);
  for (const Json& layer : set["neurons"]) {
    EXPECT_EQ(layer["count"], 64);
    EXPECT_GT(layer["half"], 0);
    EXPECT_LE(layer["half"], 32);
    EXPECT_LE(layer["median"], layer["largest"]);
  }

  const std::string drawing = read_all(plot);
  EXPECT_EQ(drawing.rfind("<svg ", 0), 0u);
  EXPECT_HAS(drawing, "layer 1, head 3: ");
  EXPECT_HAS(drawing, "</svg>");
  EXPECT_EQ(squares_of(drawing), 8u);

  // The same on standard output; other ways to take the mean give other numbers.
  const Outcome again = bertx(arguments({"--json"}));
  EXPECT_EQ(again.json()["sets"][0]["heads"], set["heads"]);
  EXPECT_TRUE(again.json()["sets"][0]["seed"].is_null());
  for (const char* per : {"token", "batch"}) {
    const Outcome other = bertx(arguments({"--json", "--per", per}));
    ASSERT_EQ(other.code, 0) << other.err;
    EXPECT_NE(other.json()["sets"][0]["heads"], set["heads"]);
  }
  EXPECT_EQ(bertx(arguments({"--json", "--max_eval_samples", "7"})).json()["sets"][0]["texts"], 7);

  // What it wrote it reads; a ranking agrees with itself.
  const Outcome compared = bertx({"importance", "--compare", json, json, "--json"});
  ASSERT_EQ(compared.code, 0) << compared.err;
  EXPECT_NEAR(compared.json()["pairs"][0]["spearman"].get<double>(), 1, 1e-12);
  EXPECT_NEAR(compared.json()["groups"]["same data, same seed"]["kendall"].get<double>(), 1, 1e-12);
}

TEST_F(ImportanceTest, BothPartsAndTheTrainingTextsOfATask) {
  const std::string glue = (place / "glue").string();
  std::string rows = "sentence\tlabel\n";
  for (int i = 0; i < 12; ++i) rows += std::string("the film was ") + (i % 2 ? "good\t1\n" : "bad\t0\n");
  write_all(place / "glue/SST-2/train.tsv", rows);
  write_all(place / "glue/SST-2/dev.tsv", rows.substr(0, rows.find("good\t1\n") + 7));
  for (const auto& [split, texts] : {std::pair{"validation", 2}, {"train", 12}}) {
    const Outcome outcome = bertx(
        {"importance", "--model", classifier, "--task_name", "sst2", "--data_dir", glue, "--split", split, "--json"});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_EQ(outcome.json()["sets"].size(), 1u);
    EXPECT_EQ(outcome.json()["sets"][0]["texts"], texts);
    EXPECT_EQ(outcome.json()["sets"][0]["data"], "sst2");
    EXPECT_EQ(outcome.json()["sets"][0]["split"], split);
  }
}

TEST_F(ImportanceTest, RankCorrelationsByGroup) {
  // Layers of [3, 4] and [4, 3] have length 5: ranks of 0.6, 0.8, 0.8, 0.6.
  const std::string a = file("a.json", "[[3, 4], [4, 3]]", "sst2", "1"),
                    b = file("b.json", "[[6, 8], [0.4, 0.3]]", "sst2", "2"),
                    c = file("c.json", "[[4, 3], [3, 4]]", "mrpc", "1"),
                    d = file("d.json", "[[1, 2], [2, 3]]", "mrpc", "null");
  const Outcome outcome = bertx({"importance", "--compare", a, b, c, d, "--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const Json groups = outcome.json()["groups"];
  EXPECT_EQ(outcome.json()["pairs"].size(), 6u);
  EXPECT_NEAR(groups["same data, other seed"]["spearman"].get<double>(), 1, 1e-6);
  EXPECT_NEAR(groups["other data, same seed"]["kendall"].get<double>(), -1, 1e-6);
  EXPECT_NEAR(groups["other data, other seed"]["spearman"].get<double>(), -1, 1e-6);
  EXPECT_EQ(groups["other data"]["pairs"], 2);  // a seed that nobody knows
  EXPECT_EQ(groups["same data"]["pairs"], 1);
  // d: 0.447, 0.894, 0.555, 0.832 against a: 0.6, 0.8, 0.8, 0.6 — of the four pairs that a does not tie three agree:
  // tau-b = (3 − 1) / √(4 · 6).
  const Json pair = outcome.json()["pairs"][2];
  EXPECT_EQ(pair["second"], 3);
  EXPECT_NEAR(pair["kendall"].get<double>(), 2 / std::sqrt(24.0), 1e-12);

  // Side by side: 4 heads of each, more than three sets in two columns.
  const std::string plot = (place / "compared.svg").string();
  EXPECT_EQ(bertx({"importance", "--compare", a, b, c, d, "--plot", plot}).code, 0);
  EXPECT_EQ(squares_of(read_all(plot)), 16u);
  EXPECT_HAS(read_all(plot), "sst2 (validation)");
  EXPECT_EQ(bertx({"importance", "--compare", a, b, "--plot", (place / "nowhere/x.svg").string()}).code, 4);

  const Outcome table = bertx({"importance", "--compare", a, c});
  EXPECT_HAS(table.out, "1 and 2");
  EXPECT_HAS(table.out, "-1.000");
  EXPECT_HAS(table.out, "other data, same seed");

  // All heads alike: no correlation is defined.
  const std::string even = file("even.json", "[[1, 1], [1, 1]]", "sst2", "1");
  EXPECT_TRUE(bertx({"importance", "--compare", a, even, "--json"}).json()["pairs"][0]["spearman"].is_null());
  EXPECT_HAS(bertx({"importance", "--compare", a, even}).out, "-");
}

TEST_F(ImportanceTest, FilesThatMakeNoSenseAreNamed) {
  const std::string good = file("good.json", "[[3, 4], [4, 3]]", "sst2", "1");
  const auto message = [&](const std::string& heads, int code) {
    const Outcome outcome = bertx({"importance", "--compare", good, file("bad.json", heads, "sst2", "1")});
    EXPECT_EQ(outcome.code, code) << heads << outcome.err;
    return outcome.err;
  };
  EXPECT_HAS(message("[[3, -1], [4, 3]]", 3), "bad.json: sets: 0: heads: 0: found -1; expected an importance");
  EXPECT_HAS(message("[[3, \"x\"], [4, 3]]", 3), "expected an importance");
  EXPECT_HAS(message("[[3, 1e999], [4, 3]]", 3), "bad.json");
  EXPECT_HAS(message("[3, 4]", 3), "expected at most 1024 numbers");
  EXPECT_HAS(message("[]", 3), "heads");
  EXPECT_HAS(message("{}", 3), "heads");
  EXPECT_HAS(message("[[3, 4, 5], [4, 3]]", 3), "found layers of 3,2 heads; expected 2,2");
  for (const char* text : {"", "{", "[]", "{}", R"({"bertx_importance": 2, "sets": []})", R"({"bertx_importance": 1})",
                           R"({"bertx_importance": 1, "sets": []})", R"({"bertx_importance": 1, "sets": [3]})",
                           R"({"bertx_importance": 1, "sets": [{"model": 3}]})"}) {
    write_all(place / "bad.json", text);
    const Outcome outcome = bertx({"importance", "--compare", good, (place / "bad.json").string()});
    EXPECT_EQ(outcome.code, 3) << text << outcome.err;
    EXPECT_HAS(outcome.err, "bad.json");
  }
  EXPECT_EQ(bertx({"importance", "--compare", good, (place / "nowhere.json").string()}).code, 4);
}

TEST_F(ImportanceTest, FlagsThatMakeNoSenseAreNamed) {
  const auto refused = [&](const std::vector<std::string>& more, const std::string& part) {
    const Outcome outcome = bertx(more);
    EXPECT_EQ(outcome.code, 2) << part << outcome.err;
    EXPECT_HAS(outcome.err, part);
  };
  const std::string good = file("good.json", "[[3, 4], [4, 3]]", "sst2", "1");
  refused({"importance"}, "--model_name_or_path is missing");
  refused({"importance", "--compare"}, "--compare: found 0 sets in 0 files");
  refused({"importance", "--compare", good}, "--compare: found 1 sets in 1 files");
  refused({"importance", "--compare", good, good, "--model", classifier},
          "--model_name_or_path: found it beside --compare");
  refused({"importance", "--model", classifier}, "data is missing");
  refused(arguments({"--split", "train"}), "--split: found train without --task_name");
  refused(arguments({"--per", "sentence"}), "--per");
  refused(arguments({"--max_seq_length", "41"}), "--max_seq_length");
  EXPECT_EQ(bertx(arguments({"--output", (place / "no/where.json").string()})).code, 4);
  EXPECT_EQ(bertx({"importance", "--model", model, "--validation_file", validation_file}).code, 3);  // it has no head
}

}  // namespace
}  // namespace bertx::test
