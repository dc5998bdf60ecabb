// The nine tasks of GLUE: small files of every layout, and the official ones where they are at hand.
#include "files.h"

namespace bertx::test {
namespace {

using Names = std::vector<std::string>;

const std::filesystem::path kFixtures = std::filesystem::path(BERTX_SOURCE_DIR) / "tests/data/glue";

Dataset fixture(std::string_view task, Split split) { return load_task(*find_task(task), kFixtures, split); }

TEST(GlueTasks, AreFoundInEverySpelling) {
  EXPECT_EQ(task_names().size(), 9u);
  for (const auto name : {"sst2", "SST-2", "sst-2", "SST_2"}) {
    ASSERT_NE(find_task(name), nullptr) << name;
    EXPECT_EQ(find_task(name)->folder, "SST-2");
  }
  EXPECT_EQ(find_task("STS-B")->kind, LabelKind::regression);
  EXPECT_EQ(find_task("cola")->metrics, std::vector<std::string_view>{"matthews_correlation"});
  EXPECT_EQ(find_task("mrpc")->metrics, (std::vector<std::string_view>{"accuracy", "f1"}));
  EXPECT_EQ(find_task("stsb")->metrics, (std::vector<std::string_view>{"pearson", "spearmanr"}));
  EXPECT_EQ(find_task("squad"), nullptr);
  EXPECT_EQ(find_task(""), nullptr);
}

TEST(GlueFiles, ColaHasNoHeaderButInItsTestFile) {
  const Dataset train = fixture("cola", Split::train);
  EXPECT_EQ(texts_of(train), (Names{"The cat sat on \"the mat.", "Cat the mat on sat."}));
  EXPECT_EQ(labels_of(train), (std::vector<std::int32_t>{1, 0}));
  EXPECT_EQ(train.labels, (Names{"unacceptable", "acceptable"}));
  EXPECT_FALSE(train.examples[0].pair);
  EXPECT_EQ(train.examples[1].line, 2);
  const Dataset test = fixture("cola", Split::test);
  EXPECT_EQ(texts_of(test), (Names{"Somebody knew.", "Knew who?"}));
  EXPECT_EQ(test.kind, LabelKind::none);
  EXPECT_EQ(labels_of(test), (std::vector<std::int32_t>{-100, -100}));
}

TEST(GlueFiles, Sst2KeepsQuotesAndBlanks) {
  const Dataset train = fixture("SST-2", Split::train);
  EXPECT_EQ(texts_of(train), (Names{"a fine little film ", "dull ", "it 's not \" dull \" "}));
  EXPECT_EQ(labels_of(train), (std::vector<std::int32_t>{1, 0, 1}));
  EXPECT_EQ(texts_of(fixture("sst2", Split::test)), Names{"quite long"});
}

TEST(GlueFiles, MrpcSkipsByteOrderMarkAndCarriageReturns) {
  const Dataset train = fixture("mrpc", Split::train);
  ASSERT_EQ(train.examples.size(), 2u);
  EXPECT_EQ(train.examples[0].text_a, "\" He left early .");
  EXPECT_EQ(train.examples[0].text_b, "He went early .");
  EXPECT_TRUE(train.examples[0].pair);
  EXPECT_EQ(labels_of(train), (std::vector<std::int32_t>{1, 0}));
  EXPECT_EQ(fixture("mrpc", Split::test).examples[0].text_b, "Two .");
}

TEST(GlueFiles, QqpSkipsShortRows) {
  const Dataset train = fixture("qqp", Split::train);
  ASSERT_EQ(train.examples.size(), 2u);
  EXPECT_EQ(train.examples[1].text_b, "Why?");
  EXPECT_EQ(train.examples[1].line, 4);
  EXPECT_EQ(labels_of(train), (std::vector<std::int32_t>{1, 0}));
  ASSERT_EQ(train.warnings.size(), 1u);
  EXPECT_NE(train.warnings[0].find("1 rows"), std::string::npos) << train.warnings[0];
  EXPECT_EQ(fixture("qqp", Split::test).examples[0].text_b, "In what way?");
}

TEST(GlueFiles, StsbHasNumbers) {
  const Dataset train = fixture("stsb", Split::train);
  ASSERT_EQ(train.examples.size(), 2u);
  EXPECT_EQ(train.kind, LabelKind::regression);
  EXPECT_TRUE(train.labels.empty());
  EXPECT_EQ(train.examples[0].target, 4.75f);
  EXPECT_EQ(train.examples[1].target, 0.0f);
  EXPECT_EQ(train.examples[1].text_b, "A cat sleeps.");
  EXPECT_EQ(fixture("stsb", Split::test).examples[0].text_a, "A man runs.");
}

TEST(GlueFiles, MnliTakesTheLastColumnOfEachLayout) {
  const Dataset train = fixture("mnli", Split::train);
  EXPECT_EQ(labels_of(train), (std::vector<std::int32_t>{0, 2, 1}));
  EXPECT_EQ(train.examples[1].text_b, "It is dry.");
  EXPECT_EQ(texts_of(fixture("mnli", Split::validation)), Names{"Matched."});
  EXPECT_EQ(labels_of(fixture("mnli", Split::validation_mismatched)), std::vector<std::int32_t>{2});
  EXPECT_EQ(texts_of(fixture("mnli", Split::test)), Names{"Test matched."});
  EXPECT_EQ(texts_of(fixture("mnli", Split::test_mismatched)), Names{"Test mismatched."});
  expect_error(ErrorKind::usage, {"validation_mismatched", "rte", "mnli"},
               [] { fixture("rte", Split::validation_mismatched); });
}

TEST(GlueFiles, QnliRteAndWnli) {
  EXPECT_EQ(labels_of(fixture("qnli", Split::train)), (std::vector<std::int32_t>{0, 1}));
  EXPECT_EQ(labels_of(fixture("rte", Split::train)), (std::vector<std::int32_t>{0, 1}));
  EXPECT_EQ(labels_of(fixture("wnli", Split::train)), (std::vector<std::int32_t>{0, 1}));
  EXPECT_EQ(fixture("wnli", Split::train).labels, (Names{"not_entailment", "entailment"}));
  for (const auto task : {"qnli", "rte", "wnli"}) {
    EXPECT_TRUE(fixture(task, Split::test).examples[0].pair) << task;
    EXPECT_FALSE(fixture(task, Split::test).examples[0].text_b.empty()) << task;
  }
}

TEST(GlueFiles, AreFoundInTheTasksOwnFolderToo) {
  EXPECT_EQ(load_task(*find_task("rte"), kFixtures / "RTE", Split::train).examples.size(), 2u);
  expect_error(ErrorKind::io, {"nowhere", "RTE", "train.tsv"},
               [] { load_task(*find_task("rte"), kFixtures / "nowhere", Split::train); });
}

TEST(GlueFiles, LabelsFollowTheModelByName) {
  const Names model = {"CONTRADICTION", "entailment", "neutral"};
  const Dataset train = load_task(*find_task("mnli"), kFixtures, Split::train, &model);
  EXPECT_EQ(labels_of(train), (std::vector<std::int32_t>{1, 0, 2}));
  EXPECT_EQ(train.labels, model);

  const Names nameless = {"LABEL_0", "LABEL_1", "LABEL_2"};
  const Dataset kept = load_task(*find_task("mnli"), kFixtures, Split::train, &nameless);
  EXPECT_EQ(labels_of(kept), (std::vector<std::int32_t>{0, 2, 1}));
  EXPECT_EQ(kept.warnings.size(), 1u);

  const Names other = {"entailment", "neutral", "rain"};
  expect_error(ErrorKind::bad_input, {"mnli", "contradiction", "entailment", "neutral", "rain"},
               [&] { load_task(*find_task("mnli"), kFixtures, Split::train, &other); });
  expect_error(ErrorKind::bad_input, {"stsb", "one output"},
               [&] { load_task(*find_task("stsb"), kFixtures, Split::train, &other); });

  const Names turned = {"equivalent", "not_equivalent"};
  EXPECT_EQ(labels_of(load_task(*find_task("mrpc"), kFixtures, Split::train, &turned)),
            (std::vector<std::int32_t>{0, 1}));
  EXPECT_EQ(positive_class(*find_task("mrpc"), turned), 0);
  EXPECT_EQ(positive_class(*find_task("mrpc"), find_task("mrpc")->labels), 1);
}

class BadGlueFile : public OwnFile {
 protected:
  void expect(std::string_view task, std::string_view bytes, std::initializer_list<std::string_view> parts) {
    write("train.tsv", bytes);
    expect_error(ErrorKind::bad_input, parts, [&] { load_task(*find_task(task), directory_.path(), Split::train); });
  }
};

TEST_F(BadGlueFile, HeaderWhereNoneIsDue) {
  expect("cola", "source\tlabel\tstar\tsentence\nx\t1\t\tYes.\n", {"train.tsv:1", "label", "0 … 1", "no header"});
}
TEST_F(BadGlueFile, NoHeaderWhereOneIsDue) {
  expect("sst2", "a good film\t1\n", {"train.tsv:1", "field 2", "row of data", "column names"});
  expect("stsb", "0\tg\tf\ty\t1\tn\tn\tA.\tB.\t3.2\n", {"train.tsv:1", "field 10", "row of data", "column names"});
}
TEST_F(BadGlueFile, ExtraTab) {
  expect("sst2", "sentence\tlabel\na good\tfilm\t1\n", {"train.tsv:2", "more than 2 fields", "expected 2"});
}
TEST_F(BadGlueFile, ShortRow) {
  expect("rte", "index\tsentence1\tsentence2\tlabel\n0\tA.\tentailment\n", {"train.tsv:2", "found 3", "expected 4"});
}
TEST_F(BadGlueFile, TooFewColumns) {
  expect("mnli", "index\tsentence1\tsentence2\tlabel\n", {"train.tsv:1", "4 column", "at least 11", "MNLI"});
}
TEST_F(BadGlueFile, UnknownLabels) {
  expect("rte", "index\tsentence1\tsentence2\tlabel\n0\tA.\tB.\tmaybe\n",
         {"train.tsv:2", "field 4", "maybe", "entailment"});
  expect("sst2", "sentence\tlabel\ngood\t2\n", {"train.tsv:2", "\"2\"", "0 … 1"});
  expect("sst2", "sentence\tlabel\ngood\tnan\n", {"train.tsv:2", "nan"});
  expect("sst2", "sentence\tlabel\ngood\t\n", {"train.tsv:2", "\"\""});
}
TEST_F(BadGlueFile, ScoresThatAreNoNumbers) {
  const std::string head = "i\tg\tf\ty\to\ts\ts\tsentence1\tsentence2\tscore\n0\tg\tf\ty\t1\tn\tn\tA.\tB.\t";
  for (const std::string score : {"nan", "inf", "1e999", "1e39", "3,5", "", "0x10"}) {
    expect("stsb", head + score + "\n", {"train.tsv:2", "field 10", "\"" + score + "\"", "finite number"});
  }
}
TEST_F(BadGlueFile, Empty) {
  expect("cola", "", {"train.tsv", "no rows"});
  expect("sst2", "", {"train.tsv", "column names"});
  expect("sst2", "sentence\tlabel\n", {"train.tsv", "no rows"});
}

struct Official {
  const char* task;
  Split split;
  std::size_t examples;
  double share;  // of label 1, or the mean target
};

// Counts and shares are those that pandas finds in the official files.
class OfficialGlue : public testing::TestWithParam<Official> {};

TEST_P(OfficialGlue, LoadsWhole) {
  BERTX_SKIP_WITHOUT_SHARED("data/glue");
  const auto [task, split, examples, share] = GetParam();
  const Dataset data = load_task(*find_task(task), *shared_path("data/glue"), split);
  EXPECT_EQ(data.examples.size(), examples);
  double sum = 0;
  for (const Example& example : data.examples)
    sum += data.kind == LabelKind::regression ? example.target : example.label;
  EXPECT_NEAR(sum / static_cast<double>(examples), share, 1e-5);
}

INSTANTIATE_TEST_SUITE_P(
    Files, OfficialGlue,
    testing::Values(Official{"cola", Split::train, 8551, 0.704362}, Official{"cola", Split::validation, 1043, 0.691275},
                    Official{"sst2", Split::train, 67349, 0.557826}, Official{"sst2", Split::validation, 872, 0.509174},
                    Official{"mrpc", Split::train, 3667, 0.674393}, Official{"mrpc", Split::validation, 408, 0.683824},
                    Official{"stsb", Split::train, 5749, 2.700999}, Official{"stsb", Split::validation, 1500, 2.363908},
                    Official{"qnli", Split::validation, 5463, 0.505400}, Official{"rte", Split::train, 2490, 0.498394},
                    Official{"rte", Split::validation, 277, 0.472924}, Official{"wnli", Split::train, 635, 0.491339},
                    Official{"wnli", Split::validation, 71, 0.436620}),
    [](const auto& test) { return std::string(test.param.task) + "_" + std::string(split_name(test.param.split)); });

TEST(Reviews, LoadAsSst2AndAsOwnFiles) {
  BERTX_SKIP_WITHOUT_SHARED("data/reviews");
  for (const auto domain : {"books", "dvd", "electronics", "kitchen"}) {
    const auto folder = *shared_path("data/reviews") / domain;
    const Dataset task = load_task(*find_task("sst2"), folder, Split::train);
    const Dataset own = load_file(folder / "train.tsv", {}, Split::train);
    const Dataset dev = load_file(folder / "dev.tsv", {}, Split::validation, &own);
    EXPECT_EQ(task.examples.size(), 1700u);
    EXPECT_EQ(dev.examples.size(), 300u);
    EXPECT_EQ(own.labels, (Names{"0", "1"}));
    EXPECT_EQ(labels_of(own), labels_of(task));
    EXPECT_EQ(texts_of(own), texts_of(task));
    EXPECT_FALSE(own.examples[0].pair);
  }
}

}  // namespace
}  // namespace bertx::test
