// Own CSV, TSV and JSONL files: columns, kinds of label, names of labels.
#include "files.h"

namespace bertx::test {
namespace {

using Names = std::vector<std::string>;
using Ids = std::vector<std::int32_t>;

TEST_F(OwnFile, CsvQuotesAsRfc4180) {
  const Dataset data = load("a.csv",
                            "label,text\r\n"
                            "pos,\"one, two\"\r\n"
                            "neg,\"she said \"\"no\"\"\"\n"
                            "pos,\"line one\nline two\"\n"
                            "neg,a 5\" disk\n"
                            "pos,\"\"\n"
                            "neg,last");
  EXPECT_EQ(texts_of(data), (Names{"one, two", "she said \"no\"", "line one\nline two", "a 5\" disk", "", "last"}));
  EXPECT_EQ(data.kind, LabelKind::single_label);
  EXPECT_EQ(data.labels, (Names{"neg", "pos"}));
  EXPECT_EQ(labels_of(data), (Ids{1, 0, 1, 0, 1, 0}));
  EXPECT_EQ(data.examples[3].line, 6);  // the record before it takes two lines
  EXPECT_EQ(data.name, "a");
  ASSERT_EQ(data.warnings.size(), 1u);  // the empty text
  EXPECT_NE(data.warnings[0].find("a.csv:7: 1 example"), std::string::npos) << data.warnings[0];
}

TEST_F(OwnFile, TsvTakesQuotesAsText) {
  const Dataset data = load("a.tsv", "text\tlabel\n\"open\ta\nb\"\tb\n");
  EXPECT_EQ(texts_of(data), (Names{"\"open", "b\""}));
}

TEST_F(OwnFile, JsonLinesKeepEscapesAndOrderOfKeys) {
  const Dataset data = load("a.jsonl",
                            "{\"id\": 7, \"zeta\": \"a\\tb \\u00e9\", \"score\": 1, \"label\": \"x\"}\n"
                            "\n"
                            "{\"label\": \"y\", \"zeta\": \"c\", \"more\": {\"deep\": [[1]]}}\n");
  EXPECT_EQ(texts_of(data), (Names{"a\tb \xc3\xa9", "c"}));
  EXPECT_FALSE(data.examples[0].pair);  // score is no text
  EXPECT_EQ(data.examples[1].line, 3);
  EXPECT_EQ(data.labels, (Names{"x", "y"}));
}

TEST_F(OwnFile, DefaultColumns) {
  const auto pair = [&](const std::string& header) {
    const Dataset data = load("a.csv", header + "\n0,1,2,3\n4,5,6,7\n");
    return data.examples[0].text_a + (data.examples[0].pair ? "+" + data.examples[0].text_b : "");
  };
  EXPECT_EQ(pair("sentence2,label,x,sentence1"), "3+0");
  EXPECT_EQ(pair("x,y,label,z"), "0+1");
  EXPECT_EQ(pair("id,idx,label,z"), "3");
  EXPECT_EQ(pair("GUID,label,sentence1,Index"), "2");
  EXPECT_EQ(pair("label,b,a,c"), "1+2");
}

TEST_F(OwnFile, NamedColumns) {
  const std::string bytes = "a,b,label,stars\nx,y,0,4\nz,w,1,5\n";
  Dataset data = load("a.csv", bytes, Split::train, nullptr, {"b", "", "stars"});
  EXPECT_EQ(texts_of(data), (Names{"y", "w"}));
  EXPECT_FALSE(data.examples[0].pair);
  EXPECT_EQ(data.labels, (Names{"4", "5"}));
  data = load("a.csv", bytes, Split::train, nullptr, {"b", "a", ""});
  EXPECT_EQ(data.examples[0].text_a + data.examples[0].text_b, "yx");
  data = load("a.csv", bytes, Split::train, nullptr, {"", "a", ""});
  EXPECT_EQ(data.examples[0].text_a + data.examples[0].text_b, "yx");
}

TEST_F(OwnFile, NumbersOfClassesAreSortedByValue) {
  const Dataset data = load("a.csv", "label,text\n10,a\n9,b\n-1,c\n10,d\n");
  EXPECT_EQ(data.kind, LabelKind::single_label);
  EXPECT_EQ(data.labels, (Names{"-1", "9", "10"}));
  EXPECT_EQ(labels_of(data), (Ids{2, 1, 0, 2}));
}

TEST_F(OwnFile, FractionsMeanRegression) {
  for (const auto& [name, bytes] : {std::pair{"a.csv", "label,text\n1,a\n2.5,b\n-3e-1,c\n"},
                                    std::pair{"a.jsonl",
                                              "{\"label\":1,\"text\":\"a\"}\n{\"label\":2.5,\"text\":\"b\"}\n"
                                              "{\"label\":-3e-1,\"text\":\"c\"}\n"}}) {
    const Dataset data = load(name, bytes);
    EXPECT_EQ(data.kind, LabelKind::regression);
    EXPECT_TRUE(data.labels.empty());
    EXPECT_EQ(data.examples[0].target, 1.0f);
    EXPECT_EQ(data.examples[1].target, 2.5f);
    EXPECT_EQ(data.examples[2].target, -0.3f);
    EXPECT_EQ(data.examples[2].label, -100);
  }
  // A string of JSON is a name, whatever it looks like.
  EXPECT_EQ(load("a.jsonl", "{\"label\":\"1.5\",\"text\":\"a\"}\n{\"label\":\"2\",\"text\":\"b\"}\n").kind,
            LabelKind::single_label);
}

TEST_F(OwnFile, BooleansAreClasses) {
  const Dataset data = load("a.jsonl", "{\"label\":true,\"text\":\"a\"}\n{\"label\":false,\"text\":\"b\"}\n");
  EXPECT_EQ(data.labels, (Names{"false", "true"}));
  EXPECT_EQ(labels_of(data), (Ids{1, 0}));
}

TEST_F(OwnFile, SeveralNamesMeanMultiLabel) {
  for (const auto& [name, bytes] : {std::pair{"a.csv", "text,label\na,red | blue\nb,green\nc,\nd,blue|blue\n"},
                                    std::pair{"a.jsonl",
                                              "{\"text\":\"a\",\"label\":[\"red\",\"blue\"]}\n"
                                              "{\"text\":\"b\",\"label\":[\"green\"]}\n{\"text\":\"c\",\"label\":[]}\n"
                                              "{\"text\":\"d\",\"label\":[\"blue\",\"blue\"]}\n"}}) {
    const Dataset data = load(name, bytes);
    EXPECT_EQ(data.kind, LabelKind::multi_label);
    EXPECT_EQ(data.labels, (Names{"blue", "green", "red"}));
    EXPECT_EQ(data.examples[0].classes, (Ids{0, 2}));
    EXPECT_EQ(data.examples[1].classes, (Ids{1}));
    EXPECT_EQ(data.examples[2].classes, (Ids{}));
    EXPECT_EQ(data.examples[3].classes, (Ids{0}));
  }
}

TEST_F(OwnFile, ZerosAndOnesMeanMultiLabel) {
  const Dataset data = load("a.jsonl", "{\"text\":\"a\",\"label\":[0,1,1]}\n{\"text\":\"b\",\"label\":[0.0,0,1.0]}\n");
  EXPECT_EQ(data.kind, LabelKind::multi_label);
  EXPECT_EQ(data.labels, (Names{"0", "1", "2"}));
  EXPECT_EQ(data.examples[0].classes, (Ids{1, 2}));
  EXPECT_EQ(data.examples[1].classes, (Ids{2}));
}

TEST_F(OwnFile, ValidationFollowsTheTrainingSet) {
  const Dataset train = load("t.csv", "label,text\nb,1\na,2\nc,3\n");
  EXPECT_EQ(labels_of(load("v.csv", "label,text\nc,1\nA,2\n", Split::validation, &train)), (Ids{2, 0}));
  const Dataset scores = load("t.csv", "label,text\n1.5,1\n2,2\n");
  const Dataset whole = load("v.csv", "label,text\n1,1\n2,2\n", Split::validation, &scores);
  EXPECT_EQ(whole.kind, LabelKind::regression);
  EXPECT_EQ(whole.examples[1].target, 2.0f);
  const Dataset tags = load("t.csv", "label,text\na|b,1\nc,2\n");
  const Dataset tag = load("v.csv", "label,text\nc,1\n", Split::validation, &tags);
  EXPECT_EQ(tag.kind, LabelKind::multi_label);
  EXPECT_EQ(tag.examples[0].classes, (Ids{2}));
  Dataset model;  // as it comes from a config.json without names
  model.kind = LabelKind::single_label;
  model.labels = {"LABEL_0", "LABEL_1"};
  EXPECT_EQ(labels_of(load("v.csv", "label,text\n1,a\n0,b\nLABEL_1,c\n", Split::validation, &model)), (Ids{1, 0, 1}));
}

TEST_F(OwnFile, TestSetsNeedNoLabels) {
  for (const auto bytes : {"text\nx\n", "text,label\nx,\n"}) {
    const Dataset data = load("a.csv", bytes, Split::test);
    EXPECT_EQ(data.kind, LabelKind::none);
    EXPECT_EQ(labels_of(data), Ids{-100});
  }
  EXPECT_EQ(load("a.jsonl", "{\"text\":\"x\",\"label\":null}\n", Split::test).kind, LabelKind::none);
  EXPECT_EQ(labels_of(load("a.csv", "text,label\nx,b\ny,a\n", Split::test)), (Ids{1, 0}));
}

TEST_F(OwnFile, RelabelMapsMultiLabel) {
  Dataset data = load("t.csv", "label,text\na|b,1\nc,2\n");
  relabel(data, {"c", "b", "a"});
  EXPECT_EQ(data.examples[0].classes, (Ids{1, 2}));
  EXPECT_EQ(data.examples[1].classes, (Ids{0}));
  expect_error(ErrorKind::bad_input, {"\"c\"", "id2label", "\"x\""}, [&] { relabel(data, {"a", "b", "x"}); });
}

}  // namespace
}  // namespace bertx::test
