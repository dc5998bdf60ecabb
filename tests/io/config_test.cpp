// config.json: defaults, every key, every bad value, and writing it so that nothing is lost.
#include "bertx/config.h"

#include <gtest/gtest.h>

#include <clocale>

#include "bertx/files.h"
#include "io/json.h"
#include "io_support.h"

namespace bertx::test {
namespace {

Config read_text(const std::string& text) {
  const TempDir directory;
  write_bytes(directory / "config.json", text);
  return read_config(directory.path());
}

TEST(Config, DefaultsAreThoseOfTransformers) {
  const Config config = read_text("{}");
  EXPECT_EQ(config.vocab, 30522);
  EXPECT_EQ(config.hidden, 768);
  EXPECT_EQ(config.positions, 512);
  EXPECT_EQ(config.types, 2);
  EXPECT_EQ(config.layers, std::vector<LayerShape>(12, LayerShape{12, 64, 3072}));
  EXPECT_EQ(config.activation, Activation::gelu_erf);
  EXPECT_EQ(config.hidden_dropout, 0.1f);
  EXPECT_EQ(config.attention_dropout, 0.1f);
  EXPECT_LT(config.classifier_dropout, 0);
  EXPECT_EQ(config.layer_norm_eps, 1e-12);
  EXPECT_EQ(config.initializer_range, 0.02f);
  EXPECT_EQ(config.pad_token, 0);
  EXPECT_EQ(config.head, HeadKind::none);
  EXPECT_TRUE(config.labels.empty());
  EXPECT_TRUE(config.tie_word_embeddings);
  EXPECT_FALSE(config.uneven());
}

TEST(Config, EveryKeyIsRead) {
  const Config config = read_text(R"({"vocab_size":100,"hidden_size":8,"num_hidden_layers":2,"num_attention_heads":2,
    "intermediate_size":16,"hidden_act":"relu","hidden_dropout_prob":0,"attention_probs_dropout_prob":0.25,
    "max_position_embeddings":9,"type_vocab_size":1,"initializer_range":0.5,"layer_norm_eps":1e-5,"pad_token_id":99,
    "position_embedding_type":"absolute","classifier_dropout":0.5,"architectures":["BertForTokenClassification"],
    "model_type":"bert","id2label":{"0":"O","1":"B-PER","2":"I-PER"},"label2id":{"O":0,"B-PER":1,"I-PER":2},
    "problem_type":null,"pruned_heads":{},"tie_word_embeddings":false,"unknown":{"a":[1]}})");
  EXPECT_EQ(config.vocab, 100);
  EXPECT_EQ(config.layers, std::vector<LayerShape>(2, LayerShape{2, 4, 16}));
  EXPECT_EQ(config.activation, Activation::relu);
  EXPECT_EQ(config.hidden_dropout, 0.0f);
  EXPECT_EQ(config.attention_dropout, 0.25f);
  EXPECT_EQ(config.classifier_dropout, 0.5f);
  EXPECT_EQ(config.positions, 9);
  EXPECT_EQ(config.types, 1);
  EXPECT_EQ(config.initializer_range, 0.5f);
  EXPECT_EQ(config.layer_norm_eps, 1e-5);
  EXPECT_EQ(config.pad_token, 99);
  EXPECT_EQ(config.head, HeadKind::token_classification);
  EXPECT_EQ(config.labels, (std::vector<std::string>{"O", "B-PER", "I-PER"}));
  EXPECT_FALSE(config.problem_is_stated);
  EXPECT_FALSE(config.tie_word_embeddings);
}

TEST(Config, Activations) {
  for (const auto& [name, activation] : {std::pair{"gelu", Activation::gelu_erf},
                                         {"gelu_new", Activation::gelu_tanh},
                                         {"gelu_pytorch_tanh", Activation::gelu_tanh},
                                         {"tanh", Activation::tanh},
                                         {"gelu_fast", Activation::gelu_tanh},
                                         {"relu", Activation::relu}}) {
    EXPECT_EQ(read_text("{\"hidden_act\":\"" + std::string(name) + "\"}").activation, activation) << name;
  }
}

TEST(Config, HeadsLabelsAndProblems) {
  const auto classifier = [](const std::string& rest) {
    return read_text("{\"architectures\":[\"BertForSequenceClassification\"]" + rest + "}");
  };
  EXPECT_EQ(classifier("").labels, (std::vector<std::string>{"LABEL_0", "LABEL_1"}));
  EXPECT_EQ(classifier(",\"num_labels\":3").labels.size(), 3u);
  EXPECT_EQ(classifier(",\"label2id\":{\"b\":1,\"a\":0}").labels, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(classifier(",\"id2label\":{\"0\":\"x\"}").problem, ProblemKind::regression);
  EXPECT_FALSE(classifier(",\"id2label\":{\"0\":\"x\"}").problem_is_stated);
  EXPECT_EQ(classifier("").problem, ProblemKind::single_label);
  EXPECT_EQ(classifier(",\"problem_type\":\"multi_label_classification\"").problem, ProblemKind::multi_label);
  EXPECT_TRUE(classifier(",\"problem_type\":\"regression\"").problem_is_stated);
  for (const HeadKind head : {HeadKind::none, HeadKind::sequence_classification, HeadKind::token_classification,
                              HeadKind::question_answering, HeadKind::masked_lm}) {
    EXPECT_EQ(read_text("{\"architectures\":[\"" + std::string(head_architecture(head)) + "\"]}").head, head);
  }
  EXPECT_EQ(read_text(R"({"architectures":["BertForMultipleChoice"]})").head, HeadKind::none);
  EXPECT_EQ(read_text(R"({"architectures":null})").head, HeadKind::none);
}

TEST(Config, PrunedHeadsAreAbsentFromTheirLayers) {
  const Config config = read_text(R"({"num_hidden_layers":3,"pruned_heads":{"0":[1,3],"2":[11]}})");
  EXPECT_EQ(config.layers[0], (LayerShape{10, 64, 3072}));
  EXPECT_EQ(config.layers[1], (LayerShape{12, 64, 3072}));
  EXPECT_EQ(config.layers[2], (LayerShape{11, 64, 3072}));
  EXPECT_TRUE(config.uneven());
}

TEST(Config, UnevenLayersComeBack) {
  const TempDir directory;
  Config config = make_config(3, 12, 4, 20, 50, 10);
  config.layers[0] = {0, 3, 20};
  config.layers[2] = {2, 3, 0};
  write_config(config, directory.path(), R"({"pruned_heads":{"1":[0]},"kept":1})");
  const Config again = read_config(directory.path());
  EXPECT_EQ(again.layers, config.layers);
  EXPECT_EQ(again.heads, 4);
  EXPECT_EQ(again.ffn, 20);
  EXPECT_TRUE(again.uneven());
  // Even again, as in a portable export: neither form of removal is left.
  write_config(make_config(3, 12, 4, 20, 50, 10), directory.path(), read_bytes(directory / "config.json"));
  const auto json = parse_json_file(directory / "config.json");
  EXPECT_FALSE(json.contains("bertx_layers"));
  EXPECT_FALSE(json.contains("pruned_heads"));
  EXPECT_EQ(json["kept"], 1);
}

TEST(Config, WritingKeepsWhatOthersWrote) {
  const TempDir directory;
  const std::string original = R"({"model_type":"bert","hidden_act":"gelu_pytorch_tanh","torch_dtype":"bfloat16",
    "transformers_version":"4.9.9","task_specific_params":{"a":[1,2.5,null]},"num_labels":7,"_name_or_path":"x",
    "problem_type":"regression","architectures":["BertForMaskedLM"]})";
  write_bytes(directory / "config.json", original);
  Config config = read_config(directory.path());
  EXPECT_EQ(config.labels.size(), 7u);
  config.head = HeadKind::sequence_classification;
  config.labels = {"no", "yes \"quoted\""};
  config.problem = ProblemKind::single_label;
  config.problem_is_stated = false;
  write_config(config, directory.path(), original);
  const auto json = parse_json_file(directory / "config.json");
  EXPECT_EQ(json["task_specific_params"].dump(), "{\"a\":[1,2.5,null]}");
  EXPECT_EQ(json["transformers_version"], "4.9.9");
  EXPECT_EQ(json["_name_or_path"], "x");
  EXPECT_EQ(json["hidden_act"], "gelu_pytorch_tanh");
  EXPECT_EQ(json["model_type"], "bert");
  EXPECT_EQ(json["architectures"].dump(), "[\"BertForSequenceClassification\"]");
  EXPECT_EQ(json["dtype"], "float32");
  EXPECT_EQ(json["torch_dtype"], "float32");
  EXPECT_FALSE(json.contains("num_labels"));
  EXPECT_FALSE(json.contains("problem_type"));
  EXPECT_EQ(json["id2label"].dump(), "{\"0\":\"no\",\"1\":\"yes \\\"quoted\\\"\"}");
  EXPECT_EQ(json["label2id"]["yes \"quoted\""], 1);
  EXPECT_EQ(json["hidden_dropout_prob"].dump(), "0.1");
  EXPECT_EQ(json["layer_norm_eps"].dump(), "1e-12");
  EXPECT_TRUE(json["classifier_dropout"].is_null());
  EXPECT_EQ(read_config(directory.path()).labels, config.labels);
}

TEST(Config, WritesAndReadsTheSameInALocaleWithDecimalCommas) {
  const std::string before = std::setlocale(LC_ALL, nullptr);
  bool changed = false;
  for (const char* name : {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE"}) {
    changed = changed || std::setlocale(LC_ALL, name) != nullptr;
  }
  if (!changed) GTEST_SKIP() << "no locale with decimal commas is installed";
  const TempDir directory;
  Config config = make_config(1, 4, 1, 4);
  config.hidden_dropout = 0.25f;
  write_config(config, directory.path());
  EXPECT_EQ(read_config(directory.path()).hidden_dropout, 0.25f);
  EXPECT_NE(read_bytes(directory / "config.json").find("0.25"), std::string::npos);
  std::setlocale(LC_ALL, before.c_str());
}

TEST(Config, ReferenceConfigsComeBack) {
  const auto tiny = shared_directory("golden/tiny");
  if (!tiny) GTEST_SKIP() << "no reference files: set BERTX_SHARED";
  const TempDir directory;
  for (const auto& item : fs::directory_iterator(*tiny)) {
    const std::string original = read_bytes(item.path() / "config.json");
    write_config(read_config(item.path()), directory.path(), original);
    auto before = parse_json_text(original, "before"), after = parse_json_file(directory / "config.json");
    after.erase("torch_dtype");
    before.erase("torch_dtype");
    EXPECT_EQ(before, after) << item.path();
  }
}

struct BadConfig {
  std::string name, text;
  std::vector<std::string> words;

  friend void PrintTo(const BadConfig& config, std::ostream* out) { *out << config.name; }
};

class ConfigBad : public testing::TestWithParam<BadConfig> {};

TEST_P(ConfigBad, IsRefusedByKey) {
  std::vector<std::string> words = GetParam().words;
  words.push_back("config.json: ");
  expect_bad_input(words, [&] { read_text(GetParam().text); });
}

const BadConfig kBadConfigs[] = {
    {"HiddenZero", R"({"hidden_size":0})", {"hidden_size: found 0", "an integer from 1 to 65536"}},
    {"HiddenNegative", R"({"hidden_size":-1})", {"hidden_size: found -1", "from 1 to 65536"}},
    {"HiddenHuge", R"({"hidden_size":1099511627776})", {"hidden_size: found 1099511627776", "from 1 to 65536"}},
    {"HiddenBeyond64Bits", R"({"hidden_size":18446744073709551615})", {"hidden_size: found 18446744073709551615"}},
    {"HiddenBeyondIntegers", R"({"hidden_size":18446744073709551616})", {"hidden_size: found 1.8"}},
    {"HiddenFraction", R"({"hidden_size":768.5})", {"hidden_size: found 768.5", "an integer"}},
    {"HiddenString", R"({"hidden_size":"abc"})", {"hidden_size: found \"abc\" (string)", "an integer from 1 to 65536"}},
    {"HiddenArray", R"({"hidden_size":[768]})", {"hidden_size: found an array of 1", "an integer"}},
    {"HiddenTrue", R"({"hidden_size":true})", {"hidden_size: found true", "an integer"}},
    {"HeadsDoNotDivide",
     R"({"num_attention_heads":7})",
     {"num_attention_heads: found 7", "a divisor of hidden_size 768"}},
    {"HeadsZero", R"({"num_attention_heads":0})", {"num_attention_heads: found 0", "from 1"}},
    {"BillionLayers", R"({"num_hidden_layers":1000000000})", {"num_hidden_layers: found 1000000000", "to 1000"}},
    {"VocabZero", R"({"vocab_size":0})", {"vocab_size: found 0"}},
    {"FfnZero", R"({"intermediate_size":0})", {"intermediate_size: found 0"}},
    {"PositionsZero", R"({"max_position_embeddings":0})", {"max_position_embeddings: found 0"}},
    {"TypesZero", R"({"type_vocab_size":0})", {"type_vocab_size: found 0"}},
    {"EpsZero", R"({"layer_norm_eps":0})", {"layer_norm_eps: found 0", "above 0"}},
    {"EpsNegative", R"({"layer_norm_eps":-1e-12})", {"layer_norm_eps: found -1e-12", "above 0"}},
    {"EpsNan", R"({"layer_norm_eps":NaN})", {"line 1, column", "NaN"}},
    {"EpsInfinity", R"({"layer_norm_eps":Infinity})", {"line 1, column", "malformed JSON"}},
    {"EpsOverflow", R"({"layer_norm_eps":1e999})", {"line 1, column", "1e999"}},
    {"EpsString", R"({"layer_norm_eps":"1e-12"})", {"layer_norm_eps: found \"1e-12\" (string)", "a number"}},
    {"UnknownAct", R"({"hidden_act":"swish"})", {"hidden_act: found \"swish\"", "gelu", "relu"}},
    {"RelativePositions",
     R"({"position_embedding_type":"relative_key"})",
     {"position_embedding_type: found \"relative_key\"", "absolute"}},
    {"Id2labelGap", R"({"id2label":{"0":"a","2":"c"}})", {"id2label: found key \"2\"", "\"0\" to \"1\" without a gap"}},
    {"Id2labelKey", R"({"id2label":{"0":"a","01":"b"}})", {"id2label: found key \"01\""}},
    {"Id2labelNumber", R"({"id2label":{"0":7}})", {"id2label: 0: found 7", "a string"}},
    {"Id2labelArray", R"({"id2label":["a"]})", {"id2label: found an array", "an object"}},
    {"Label2idContradicts",
     R"({"id2label":{"0":"a","1":"b"},"label2id":{"a":1,"b":0}})",
     {"label2id", "what id2label says"}},
    {"Label2idTwice", R"({"label2id":{"a":0,"b":0}})", {"label2id: \"b\": found 0 twice"}},
    {"Label2idRange", R"({"label2id":{"a":0,"b":5}})", {"label2id: \"b\": found 5", "from 0 to 1"}},
    {"NumLabelsContradicts", R"({"id2label":{"0":"a"},"num_labels":2})", {"num_labels: found 2", "expected 1"}},
    {"NumLabelsHuge", R"({"num_labels":1000000000})", {"num_labels: found 1000000000", "to 65536"}},
    {"NoLabels", R"({"architectures":["BertForSequenceClassification"],"num_labels":0})", {"num_labels: found 0"}},
    {"PrunedHeadOutOfRange", R"({"pruned_heads":{"0":[12]}})", {"pruned_heads: layer 0: found 12", "from 0 to 11"}},
    {"PrunedLayerOutOfRange", R"({"pruned_heads":{"12":[0]}})", {"pruned_heads: found layer \"12\"", "0 to 11"}},
    {"PrunedAll", R"({"num_attention_heads":2,"pruned_heads":{"0":[0,1]}})", {"pruned_heads: layer 0", "all 2 heads"}},
    {"PrunedNotAList", R"({"pruned_heads":{"0":1}})", {"pruned_heads: layer 0: found 1", "an array"}},
    {"Roberta", R"({"model_type":"roberta"})", {"model_type: found \"roberta\"", "\"bert\""}},
    {"Decoder", R"({"is_decoder":true})", {"is_decoder: found true", "false"}},
    {"ByteOrderMark", "\xEF\xBB\xBF{}", {"byte order mark", "UTF-8"}},
    {"Utf16", std::string("\xFF\xFE{\0}\0", 6), {"UTF-16", "UTF-8"}},
    {"Comments", "{\n  // size\n  \"hidden_size\": 768}", {"line 2, column 3", "comments"}},
    {"DuplicateKey", "{\"hidden_size\": 768,\n \"hidden_size\": 12}", {"line 2", "\"hidden_size\"", "twice"}},
    {"Trailing", "{} x", {"line 1, column 4", "malformed JSON"}},
    {"Empty", "", {"line 1", "malformed JSON"}},
    {"ArrayRoot", "[1]", {"an array of 1", "an object"}},
    {"Truncated", "{\"hidden_size\": 76", {"line 1, column", "end of input"}},
    {"DropoutOne", R"({"hidden_dropout_prob":1.0})", {"hidden_dropout_prob: found 1.0", "less than 1"}},
    {"DropoutNegative", R"({"attention_probs_dropout_prob":-0.1})", {"attention_probs_dropout_prob: found -0.1"}},
    {"ClassifierDropout", R"({"classifier_dropout":1.5})", {"classifier_dropout: found 1.5", "less than 1"}},
    {"Pad", R"({"pad_token_id":30522})", {"pad_token_id: found 30522", "from 0 to 30521"}},
    {"Problem", R"({"problem_type":"ranking"})", {"problem_type: found \"ranking\"", "regression"}},
    {"Architectures", R"({"architectures":"BertModel"})", {"architectures: found \"BertModel\"", "an array"}},
    {"LayersCount", R"({"num_hidden_layers":2,"bertx_layers":[]})", {"bertx_layers: found an array of 0", "of 2"}},
    {"LayersHeads",
     R"({"num_hidden_layers":1,"bertx_layers":[{"num_attention_heads":13,"intermediate_size":1}]})",
     {"bertx_layers: 0: num_attention_heads: found 13", "from 0 to 12"}},
    {"LayersMissing",
     R"({"num_hidden_layers":1,"bertx_layers":[{"num_attention_heads":1}]})",
     {"bertx_layers: 0: intermediate_size", "nothing"}},
};

INSTANTIATE_TEST_SUITE_P(Values, ConfigBad, testing::ValuesIn(kBadConfigs),
                         [](const auto& test) { return test.param.name; });

TEST(Config, MissingFile) {
  const TempDir directory;
  expect_error(ErrorKind::io, {"config.json", "No such file"}, [&] { read_config(directory.path()); });
}

}  // namespace
}  // namespace bertx::test
