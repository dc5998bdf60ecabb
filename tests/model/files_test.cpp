// Models through files: every representation comes back as it went, and exports to a plain directory with equal logits.
#include <gtest/gtest.h>

#include <fstream>

#include "bertx/error.h"
#include "bertx/model.h"
#include "bertx/safetensors.h"
#include "support.h"
#include "tiny.h"

namespace bertx {
namespace {

using test::logits_of;

// Numbers that F32 holds exactly, so that a round trip through a file may not change a bit.
void round_to_float(Backend& backend, Model& model) {
  model.visit([&](const std::string&, Parameter& p) {
    std::vector<float> host(static_cast<std::size_t>(p.tensor().size()));
    if (host.empty()) return;
    const Tensor t = view(host.data(), p.tensor().rows, p.tensor().cols, DType::f32);
    backend.download(p.tensor(), t);
    backend.upload(t, p.tensor());
  });
  model.refresh(backend);
}

class ModelFiles : public testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Backend> backend = make_reference_backend();
  test::TemporaryDirectory directory;
  Model tiny(const std::string& kind, const test::TinyHead& head = test::tiny_heads().front()) {
    Model model = make_model(*backend, test::tiny_config(head), 3);
    test::randomise_vectors(*backend, model, 4);
    if (kind != "dense") test::represent(*backend, model, kind, 6);
    round_to_float(*backend, model);
    return model;
  }
};

TEST_P(ModelFiles, NativeComesBackInItsOwnKindWithTheSameLogits) {
  Model model = tiny(GetParam());
  const Batch batch = test::tiny_batch(model, 5);
  save_model(*backend, model, directory.path(), ExportForm::native);
  LoadReport report;
  Model again = load_model(*backend, directory.path(), {}, &report);
  EXPECT_TRUE(report.initialised.empty() && report.unused.empty());
  std::vector<std::string> kinds, kinds_again;
  model.visit_linears(
      [&](const std::string& path, Linear& l) { kinds.push_back(path + ": " + std::string(l.weight->kind())); });
  again.visit_linears(
      [&](const std::string& path, Linear& l) { kinds_again.push_back(path + ": " + std::string(l.weight->kind())); });
  EXPECT_EQ(kinds, kinds_again);
  EXPECT_EQ(again.parameter_count(), model.parameter_count());
  EXPECT_EQ(logits_of(*backend, again, batch), logits_of(*backend, model, batch));
}

TEST_P(ModelFiles, DenseExportHasTheSameLogitsInTheFullShape) {
  Model model = tiny(GetParam());
  const Batch batch = test::tiny_batch(model, 5);
  save_model(*backend, model, directory.path(), ExportForm::dense);
  Model again = load_model(*backend, directory.path());
  EXPECT_FALSE(again.config.uneven());
  again.visit_linears([&](const std::string& path, Linear& l) { EXPECT_EQ(l.weight->kind(), "dense") << path; });
  const std::vector<double> got = logits_of(*backend, again, batch), want = logits_of(*backend, model, batch);
  // Low ranks and sums are multiplied out and rounded to F32; all else is exact but for the order of sums over added
  // zeros.
  const bool rounded = GetParam().starts_with("low_rank") || GetParam().ends_with("sum") || GetParam() == "tucker" ||
                       GetParam() == "embedding" || GetParam() == "gated";
  const double accepted = rounded ? 1e-5 : 1e-13;
  for (std::size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], accepted);
}

INSTANTIATE_TEST_SUITE_P(Kinds, ModelFiles,
                         testing::Values("dense", "masked", "csr", "low_rank", "low_rank_csr", "sum", "shared",
                                         "shared_sum", "no_heads", "few_heads", "few_neurons", "tucker", "embedding",
                                         "gated", "block_masked"),
                         [](const auto& test) { return test.param; });

TEST_F(ModelFiles, SharedWeightsAreWrittenOnceAndStayShared) {
  Model model = tiny("shared");
  save_model(*backend, model, directory.path(), ExportForm::native);
  const SafetensorsFile file = SafetensorsFile::open(directory / "model.safetensors");
  EXPECT_NE(file.find("bert.encoder.layer.0.attention.self.query.weight"), nullptr);
  EXPECT_EQ(file.find("bert.encoder.layer.1.attention.self.query.weight"), nullptr);
  EXPECT_EQ(file.metadata().at("alias.bert.encoder.layer.1.attention.self.query.weight"),
            "bert.encoder.layer.0.attention.self.query.weight");
  Model again = load_model(*backend, directory.path());
  EXPECT_EQ(again.layers[1].query.weight, again.layers[0].query.weight);
  EXPECT_EQ(again.layers[1].key.weight, again.layers[0].query.weight);
}

TEST_F(ModelFiles, PartsThatAreSharedAreWrittenOnceAndStayShared) {
  Model model = tiny("shared_sum");
  save_model(*backend, model, directory.path(), ExportForm::native);
  const SafetensorsFile file = SafetensorsFile::open(directory / "model.safetensors");
  const std::string query = "encoder.layer.0.attention.self.query.weight", key = "encoder.layer.1.attention.self.key";
  EXPECT_NE(file.find("bert." + query + ".first.values"), nullptr);
  EXPECT_NE(file.find("bert." + key + ".weight.second.u"), nullptr);
  EXPECT_EQ(file.find("bert." + key + ".weight.first.values"), nullptr);
  EXPECT_EQ(file.metadata().at("alias.bert." + key + ".weight.first"), "bert." + query + ".first");
  Model again = load_model(*backend, directory.path());
  const auto first = [](const Linear& linear) { return dynamic_cast<const SumWeight&>(*linear.weight).first(); };
  EXPECT_EQ(first(again.layers[1].key), first(again.layers[0].query));
  EXPECT_NE(first(again.layers[1].ffn_in), first(again.layers[0].query));
  std::size_t structures = 0;  // row pointers and columns: of square weights, ffn_in and ffn_out
  again.visit_structure([&](const std::string&, Storage&) { ++structures; });
  EXPECT_EQ(structures, 6u);
}

TEST_F(ModelFiles, FactoredEmbeddingsAreTwoTablesAndTiedDecodersTheirProduct) {
  const std::vector<test::TinyHead> heads = test::tiny_heads();
  Model model = tiny("embedding", heads.back());
  const Batch batch = test::tiny_batch(model, 5);
  save_model(*backend, model, directory.path(), ExportForm::native);
  const std::string table = "bert.embeddings.word_embeddings.weight";
  {
    const SafetensorsFile file = SafetensorsFile::open(directory / "model.safetensors");
    EXPECT_EQ(file.find(table), nullptr);
    EXPECT_EQ(file.find(table + ".u")->shape, (std::vector<std::int64_t>{23, 5}));
    EXPECT_EQ(file.find(table + ".v")->shape, (std::vector<std::int64_t>{5, 12}));
    for (const TensorEntry& entry : file.entries()) {
      EXPECT_EQ(entry.name.find("decoder"), std::string::npos) << entry.name;
    }
  }
  LoadReport report;
  Model again = load_model(*backend, directory.path(), {}, &report);
  EXPECT_TRUE(report.initialised.empty() && report.unused.empty());
  EXPECT_EQ(again.head.decoder->weight->kind(), "low_rank");
  EXPECT_EQ(again.parameter_count(), model.parameter_count());
  EXPECT_EQ(logits_of(*backend, again, batch), logits_of(*backend, model, batch));

  save_model(*backend, model, directory.path(), ExportForm::dense);
  const Model dense = load_model(*backend, directory.path());
  EXPECT_EQ(dense.embeddings.projection, nullptr);
  const std::vector<double> got = logits_of(*backend, dense, batch), want = logits_of(*backend, model, batch);
  for (std::size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-5);
}

TEST_F(ModelFiles, AliasesServeABareEncoderToo) {
  for (const std::string kind : {"shared", "shared_sum", "embedding"}) {
    Model model = tiny(kind);
    test::TemporaryDirectory own;
    save_model(*backend, model, own.path(), ExportForm::native);
    const Model bare = load_model(*backend, own.path(), {.head = HeadKind::none, .problem = {}, .labels = {}});
    const Batch batch = test::tiny_batch(model, 5);
    Arena arena(*backend);
    Exec exec{*backend, arena};
    EXPECT_EQ(test::values_of(*backend, bare.encode(exec, batch)),
              test::values_of(*backend, model.encode(exec, batch)));
  }
}

TEST_F(ModelFiles, EveryHeadComesBack) {
  for (const test::TinyHead& head : test::tiny_heads()) {
    Model model = tiny("dense", head);
    test::TemporaryDirectory own;
    save_model(*backend, model, own.path(), ExportForm::native);
    LoadReport report;
    const Model again = load_model(*backend, own.path(), {}, &report);
    EXPECT_EQ(again.head.kind, head.head) << head.name;
    EXPECT_EQ(again.head.problem, head.problem) << head.name;
    EXPECT_TRUE(report.initialised.empty() && report.unused.empty()) << head.name;
    const Batch batch = test::tiny_batch(model, 5);
    EXPECT_EQ(logits_of(*backend, again, batch), logits_of(*backend, model, batch)) << head.name;
  }
}

TEST_F(ModelFiles, NamesOfOlderFilesLoad) {
  Model model = tiny("dense");
  save_model(*backend, model, directory.path(), ExportForm::dense);
  const SafetensorsFile file = SafetensorsFile::open(directory / "model.safetensors", Access::read);
  std::vector<TensorToWrite> tensors;
  for (const TensorEntry& entry : file.entries()) {
    std::string name = entry.name.starts_with("bert.") ? entry.name.substr(5) : entry.name;
    for (const auto& [now, then] :
         {std::pair{"LayerNorm.weight", "LayerNorm.gamma"}, {"LayerNorm.bias", "LayerNorm.beta"}}) {
      if (name.ends_with(now)) name.replace(name.size() - std::string(now).size(), std::string::npos, then);
    }
    tensors.push_back({name, entry.type, entry.shape, entry.data});
  }
  const std::int64_t zero = 0;
  tensors.push_back({"embeddings.position_ids", ElementType::i64, {1}, &zero});
  write_safetensors(directory / "model.safetensors", tensors);
  LoadReport report;
  const Model again = load_model(*backend, directory.path(), {}, &report);
  EXPECT_TRUE(report.initialised.empty() && report.unused.empty());
  const Batch batch = test::tiny_batch(model, 5);
  EXPECT_EQ(logits_of(*backend, again, batch), logits_of(*backend, model, batch));
}

TEST_F(ModelFiles, ANewHeadIsInitialisedAndSaidSo) {
  Model model = tiny("dense");
  save_model(*backend, model, directory.path(), ExportForm::native);
  LoadReport report;
  const Model again =
      load_model(*backend, directory.path(),
                 {.head = HeadKind::sequence_classification, .problem = {}, .labels = {"no", "yes"}}, &report);
  EXPECT_EQ(report.initialised, (std::vector<std::string>{"classifier.weight", "classifier.bias"}));
  EXPECT_EQ(again.head.classifier->weight->out(), 2);
}

// ---- bad input ------------------------------------------------------------------------------------------------------

class BadModelFiles : public ModelFiles {
 protected:
  // The message of the error that loading ends in, with one tensor changed.
  std::string loading(const std::string& kind, const std::function<void(TensorToWrite&)>& change) {
    Model model = tiny(kind);
    save_model(*backend, model, directory.path(), ExportForm::native);
    const SafetensorsFile file = SafetensorsFile::open(directory / "model.safetensors", Access::read);
    std::vector<TensorToWrite> tensors;
    for (const TensorEntry& entry : file.entries()) {
      tensors.push_back({entry.name, entry.type, entry.shape, entry.data});
      change(tensors.back());
      if (tensors.back().name.empty()) tensors.pop_back();
    }
    write_safetensors(directory / "model.safetensors", tensors, file.metadata());
    try {
      load_model(*backend, directory.path());
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::bad_input);
      return error.what();
    }
    return "no error";
  }
  static void expect_words(const std::string& message, std::initializer_list<const char*> words) {
    for (const char* word : words) EXPECT_NE(message.find(word), std::string::npos) << message;
  }
};

TEST_F(BadModelFiles, AMissingTensorIsNamed) {
  expect_words(loading("dense",
                       [](TensorToWrite& t) {
                         if (t.name.ends_with("1.output.dense.weight")) t.name.clear();
                       }),
               {"model.safetensors", "bert.encoder.layer.1.output.dense.weight", "missing", "[12, 10]"});
}

TEST_F(BadModelFiles, AWrongShapeIsNamedWithBothShapes) {
  expect_words(loading("dense",
                       [](TensorToWrite& t) {
                         if (t.name.ends_with("0.intermediate.dense.weight")) t.shape = {12, 10};
                       }),
               {"model.safetensors", "0.intermediate.dense.weight", "[12, 10]", "[10, 12]", "config.json"});
}

TEST_F(BadModelFiles, ColumnsOutOfRange) {
  std::vector<std::uint8_t> bits(1000, 0xFF);
  expect_words(loading("csr",
                       [&](TensorToWrite& t) {
                         if (t.name.ends_with("0.output.dense.weight.bitmap")) t.data = bits.data();
                       }),
               {"model.safetensors", "0.output.dense.weight", "bitmap", "column 10", "below 10"});
}

TEST_F(BadModelFiles, BitmapAndValuesThatDisagree) {
  std::vector<std::uint8_t> bits(1000, 0);
  expect_words(loading("csr",
                       [&](TensorToWrite& t) {
                         if (t.name.ends_with("0.output.dense.weight.bitmap")) t.data = bits.data();
                       }),
               {"model.safetensors", "0.output.dense.weight"});
}

TEST_F(BadModelFiles, AMaskOfTwos) {
  std::vector<std::uint8_t> twos(1000, 2);
  expect_words(loading("masked",
                       [&](TensorToWrite& t) {
                         if (t.name.ends_with("0.output.dense.weight.mask")) t.data = twos.data();
                       }),
               {"model.safetensors", "0.output.dense.weight.mask", "found 2", "0 or 1"});
}

TEST_F(BadModelFiles, AliasesThatFitNoShapeOrGoInACircle) {
  const std::string layer = "bert.encoder.layer.1.", query = layer + "attention.self.query.weight";
  const auto with_alias = [&](const std::string& kind, const std::string& name, const std::string& target) {
    Model model = tiny(kind);
    save_model(*backend, model, directory.path(), ExportForm::native);
    const SafetensorsFile file = SafetensorsFile::open(directory / "model.safetensors", Access::read);
    std::vector<TensorToWrite> tensors;
    for (const TensorEntry& entry : file.entries())
      tensors.push_back({entry.name, entry.type, entry.shape, entry.data});
    Metadata metadata = file.metadata();
    metadata["alias." + name] = target;
    write_safetensors(directory / "model.safetensors", tensors, metadata);
    try {
      load_model(*backend, directory.path());
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::bad_input);
      return std::string(error.what());
    }
    return std::string("no error");
  };
  for (const std::string kind : {"dense", "csr", "low_rank", "sum"}) {
    expect_words(with_alias(kind, layer + "output.dense.weight", query),
                 {"model.safetensors", query.c_str(), "[12, 10]"});
  }
  expect_words(with_alias("dense", layer + "output.dense.bias", layer + "intermediate.dense.bias"),
               {"intermediate.dense.bias", "[10, 1]", "[12, 1]"});
  expect_words(with_alias("sum", query + ".first", query), {"model.safetensors", "levels"});
  expect_words(with_alias("low_rank", query + ".v", query), {"model.safetensors", "levels"});
  expect_words(with_alias("dense", query + ".first.first", query), {"model.safetensors", "is missing"});
}

TEST_F(BadModelFiles, TuckerPartsThatDoNotFitTogether) {
  const auto reshaped = [&](const char* end, const std::vector<std::int64_t>& shape) {
    return loading("tucker", [&](TensorToWrite& t) {
      if (t.name.ends_with("0.attention.self.query.weight" + std::string(end))) t.shape = shape;
    });
  };
  expect_words(reshaped(".cores", {2, 12}), {"model.safetensors", "query.weight", "[2, 12]", "three dimensions"});
  expect_words(reshaped(".cores", {2, 3, 4}), {"model.safetensors", "query.weight.", "found shape"});
  expect_words(reshaped(".mix", {2, 1}), {"model.safetensors", "query.weight.mix", "[2, 1]", "[1, 2]"});
  expect_words(reshaped(".left", {4, 12}), {"model.safetensors", "query.weight.left", "[4, 12]", "[12, 4]"});
}

TEST_F(BadModelFiles, FactorsOfEmbeddingsThatDoNotFitTogether) {
  const auto changed = [&](const char* end, const std::function<void(TensorToWrite&)>& change) {
    return loading("embedding", [&](TensorToWrite& t) {
      if (t.name.ends_with("word_embeddings.weight" + std::string(end))) change(t);
    });
  };
  expect_words(changed(".v", [](TensorToWrite& t) { t.name.clear(); }),
               {"model.safetensors", "word_embeddings.weight.v", "missing", "[5, 12]"});
  expect_words(changed(".v", [](TensorToWrite& t) { t.shape = {12, 5}; }), {"weight.v", "[12, 5]", "[5, 12]"});
  expect_words(changed(".u", [](TensorToWrite& t) { t.shape = {5, 23}; }), {"weight.u", "[5, 23]", "[23, 23]"});
  expect_words(changed(".u", [](TensorToWrite& t) { t.shape = {115}; }), {"weight.u", "[115]", "two dimensions"});
}

TEST_F(BadModelFiles, BlocksThatAreNone) {
  std::vector<std::int64_t> numbers{3, 5, 1};
  std::vector<std::uint8_t> twos(1000, 2);
  const auto changed = [&](const char* end, const std::function<void(TensorToWrite&)>& change) {
    return loading("block_masked", [&](TensorToWrite& t) {
      if (t.name.ends_with("0.attention.self.query.weight" + std::string(end))) change(t);
    });
  };
  const auto with_numbers = [&](const std::vector<std::int64_t>& other) {
    numbers = other;
    return changed(".block", [&](TensorToWrite& t) { t.data = numbers.data(); });
  };
  EXPECT_EQ(with_numbers({3, 5, 1}), "no error");
  expect_words(with_numbers({0, 5, 1}), {"model.safetensors", "query.weight.block", "found 0, 5, 1", "height, width"});
  expect_words(with_numbers({3, -5, 1}), {"query.weight.block", "found 3, -5, 1"});
  expect_words(with_numbers({3, 5, 2}), {"query.weight.block", "found 3, 5, 2"});
  expect_words(with_numbers({INT64_MAX, 5, 0}), {"query.weight.mask", "[4, 3]", "[1, 3]"});
  expect_words(changed(".block",
                       [](TensorToWrite& t) {
                         t.shape = {1, 3};
                       }),
               {"query.weight.block", "[1, 3]", "I64 [3]"});
  expect_words(changed(".mask", [](TensorToWrite& t) { t.name.clear(); }), {"query.weight.mask", "missing"});
  expect_words(changed(".mask", [&](TensorToWrite& t) { t.data = twos.data(); }), {"query.weight.mask", "found 2"});
  expect_words(changed(".scores", [](TensorToWrite& t) { t.name.clear(); }), {"query.weight.scores", "missing"});
  expect_words(changed(".scores", [](TensorToWrite& t) { t.shape = {12}; }), {"query.weight.scores", "[12]"});
  expect_words(changed(".scores", [](TensorToWrite& t) { t.shape = {4, 2}; }), {"[4, 2]", "12 scores"});
}

TEST_F(BadModelFiles, GatesOfAnotherShape) {
  expect_words(loading("gated",
                       [](TensorToWrite& t) {
                         if (t.name.ends_with("0.output.dense.weight.scores")) t.shape = {10, 12};
                       }),
               {"model.safetensors", "0.output.dense.weight.scores", "[10, 12]", "[12, 10]"});
}

TEST_F(BadModelFiles, IntegersWhereFloatsBelong) {
  expect_words(loading("dense",
                       [](TensorToWrite& t) {
                         if (t.name.ends_with("0.output.dense.weight")) t.type = ElementType::i32;
                       }),
               {"model.safetensors", "0.output.dense.weight", "I32", "F32"});
}

}  // namespace
}  // namespace bertx
