// bertx export: every representation as a plain directory that others load, and plain directories with zeros as CSR.
#include <map>

#include "bertx/safetensors.h"
#include "command.h"
#include "model/tiny.h"

namespace bertx::test {
namespace {

/// A classifier of 2 layers whose weights are of this kind (tests/model/tiny.h), in its native form.
fs::path write_model_of(const fs::path& directory, const std::string& kind) {
  fs::create_directories(directory);
  const auto backend = make_cpu_backend();
  const auto vocabulary = tiny_vocabulary();
  Config config = make_config(2, 32, 4, 64, static_cast<std::int64_t>(vocabulary.size()), 40);
  config.initializer_range = 0.2f;
  config.head = HeadKind::sequence_classification;
  config.labels = {"negative", "positive"};
  Model model = make_model(*backend, config, 7);
  randomise_vectors(*backend, model, 8);
  if (kind != "dense") represent(*backend, model, kind, 9);
  save_model(*backend, model, directory, ExportForm::native);
  Tokenizer(vocabulary).save(directory);
  return directory;
}

/// As transformers looks at it: one shape for all layers by config.json, and every tensor whole under its usual name.
void expect_plain(const fs::path& directory) {
  const Json config = Json::parse(read_all(directory / "config.json"));
  EXPECT_FALSE(config.contains("bertx_layers"));
  const std::int64_t hidden = config["hidden_size"], ffn = config["intermediate_size"], layers = 2;
  EXPECT_EQ(config["num_hidden_layers"], layers);
  EXPECT_EQ(config["num_attention_heads"], 4);
  std::map<std::string, std::vector<std::int64_t>> wanted;
  for (std::int64_t l = 0; l < layers; ++l) {
    const std::string layer = "bert.encoder.layer." + std::to_string(l) + ".";
    for (const char* name : {"attention.self.query", "attention.self.key", "attention.self.value",
                             "attention.output.dense", "intermediate.dense", "output.dense"}) {
      const bool in = name == std::string("intermediate.dense"), out = name == std::string("output.dense");
      wanted[layer + name + ".weight"] = {in ? ffn : hidden, out ? ffn : hidden};
      wanted[layer + name + ".bias"] = {in ? ffn : hidden};
    }
    for (const char* name : {"attention.output.LayerNorm", "output.LayerNorm"}) {
      wanted[layer + name + ".weight"] = wanted[layer + name + ".bias"] = {hidden};
    }
  }
  const SafetensorsFile file = SafetensorsFile::open(directory / "model.safetensors", Access::read);
  for (const TensorEntry& entry : file.entries()) {
    EXPECT_EQ(entry.type, ElementType::f32) << entry.name;
    if (entry.name.find(".layer.") == std::string::npos) continue;
    EXPECT_TRUE(wanted.contains(entry.name) && wanted[entry.name] == entry.shape) << entry.name << entry.shape_text();
    wanted.erase(entry.name);
  }
  EXPECT_TRUE(wanted.empty()) << wanted.begin()->first;
  for (const auto& [name, value] : file.metadata()) EXPECT_FALSE(name.starts_with("alias.")) << name;
}

class Export : public ToolsTest, public ::testing::WithParamInterface<std::string> {
 protected:
  std::vector<double> logits(const fs::path& directory) const {
    const Outcome outcome = bertx({"predict", "--model", directory.string()}, {"the film was very good .\n", {}, ""});
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return outcome.json()["logits"].get<std::vector<double>>();
  }
};

TEST_P(Export, IsAPlainDirectoryWithTheSameLogits) {
  const std::string kind = GetParam();
  const fs::path native = write_model_of(place / "native", kind), plain = place / "plain";
  const Outcome outcome = bertx({"export", "--model", native.string(), "--output_dir", plain.string(), "--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const bool multiplied = kind.starts_with("low_rank") || kind.ends_with("sum") || kind == "tucker";
  EXPECT_EQ(outcome.json()["lossless"], !multiplied);
  EXPECT_EQ(outcome.json()["multiplied_out"].empty(), !multiplied);
  EXPECT_LE(outcome.json()["logit_difference"].get<double>(), 1e-4);
  expect_plain(plain);
  const std::vector<double> got = logits(plain), want = logits(native);
  for (std::size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-4);

  // And back: with as many zeros as it has, never larger than the plain one.
  const fs::path back = place / "back";
  const Outcome compact =
      bertx({"export", "--model", plain.string(), "--format", "native", "--output_dir", back.string(), "--json"});
  ASSERT_EQ(compact.code, 0) << compact.err;
  EXPECT_TRUE(compact.json()["lossless"]);
  EXPECT_LE(compact.json()["logit_difference"].get<double>(), 1e-4);
  const bool zeros = kind.ends_with("csr") || kind == "masked" || kind.starts_with("few_") || kind == "no_heads";
  EXPECT_EQ(bertx({"inspect", back.string(), "--json"}).json()["kinds"].contains("csr"), zeros);
  if (zeros) {
    EXPECT_LT(compact.json()["bytes_after"], compact.json()["bytes_before"]);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, Export,
                         ::testing::Values("dense", "masked", "csr", "low_rank", "low_rank_csr", "sum", "shared",
                                           "shared_sum", "no_heads", "few_heads", "few_neurons", "tucker"),
                         [](const auto& test) { return test.param; });

TEST_F(ToolsTest, ExportSaysWhatItIs) {
  const fs::path native = write_model_of(place / "native", "low_rank");
  const Outcome text = bertx({"export", "--model", native.string(), "--output_dir", (place / "plain").string()});
  ASSERT_EQ(text.code, 0) << text.err;
  for (const char* part : {"not lossless", "low_rank", "logits differ by at most", "weight files"}) {
    EXPECT_HAS(text.out, part);
  }
  EXPECT_TRUE(fs::exists(place / "plain/vocab.txt"));
}

TEST_F(ToolsTest, ExportReplacesNothingUnasked) {
  const std::string native = write_model_of(place / "native", "csr").string(), output = (place / "out").string();
  const std::string before = read_all(place / "native/model.safetensors");
  const auto run = [&](const std::string& to, const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments{"export", "--model", native, "--output_dir", to};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return bertx(arguments);
  };
  const Outcome itself = run(native, {"--overwrite_output_dir"});
  EXPECT_EQ(itself.code, 2);
  EXPECT_HAS(itself.err, "directory of the model itself");
  EXPECT_TRUE(read_all(place / "native/model.safetensors") == before);

  write_all(place / "notes/mine.txt", "mine");
  for (const bool overwrite : {false, true}) {
    const Outcome foreign = run((place / "notes").string(), {"--overwrite_output_dir", overwrite ? "true" : "false"});
    EXPECT_EQ(foreign.code, 2) << foreign.err;
    EXPECT_EQ(read_all(place / "notes/mine.txt"), "mine");
  }
  ASSERT_EQ(run(output).code, 0);
  const Outcome again = run(output);
  EXPECT_EQ(again.code, 2);
  EXPECT_HAS(again.err, "--overwrite_output_dir");
  EXPECT_EQ(run(output, {"--overwrite_output_dir"}).code, 0);
  EXPECT_EQ(run(output, {"--format", "onnx"}).code, 2);
  EXPECT_EQ(bertx({"export", "--model", native}).code, 2);
  EXPECT_EQ(bertx({"export", "--output_dir", output}).code, 2);
  EXPECT_EQ(bertx({"export", "--model", (place / "nowhere").string(), "--output_dir", output}).code, 4);
}

}  // namespace
}  // namespace bertx::test
