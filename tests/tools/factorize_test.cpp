// bertx factorize from its flags to the directory it writes.
#include "command.h"

namespace bertx::test {
namespace {

class FactorizeCommand : public ToolsTest {
 protected:
  Outcome factorize(const std::string& output, const std::vector<std::string>& flags) const {
    std::vector<std::string> arguments = {"--model_name_or_path", model, "--latency_passes", "0"};
    arguments.insert(arguments.begin(), "factorize");
    arguments.insert(arguments.end(), {"--output_dir", (place / output).string()});
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    return bertx(arguments);
  }
  std::string kind_of(const std::string& output) const {
    const auto backend = make_cpu_backend();
    return std::string(load_model(*backend, place / output).layers[1].ffn_in.weight->kind());
  }
};

TEST_F(FactorizeCommand, HalvesTheMultipliesAtOnceAndExportsDense) {
  const Outcome native = factorize("out", {"--json"});  // svd by ratio 0.5
  ASSERT_EQ(native.code, 0) << native.err;
  EXPECT_EQ(kind_of("out"), "low_rank");
  const Json report = native.json();
  EXPECT_LT(report.at("compression_parameters_after").get<double>(), report.at("compression_parameters_before"));
  EXPECT_LT(report.at("compression_multiplies_after").get<double>(), report.at("compression_multiplies_before"));

  const Outcome dense = factorize("dense", {"--method", "low_rank_sparse", "--ratio", "0.7", "--export", "dense"});
  ASSERT_EQ(dense.code, 0) << dense.err;
  EXPECT_EQ(kind_of("dense"), "dense");
  EXPECT_HAS(dense.out, "sum");
}

TEST_F(FactorizeCommand, EmbeddingsBecomeTwoTables) {
  const Outcome outcome = factorize("out", {"--method", "embedding", "--rank", "8"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_HAS(outcome.out, "lossless");
  const auto backend = make_cpu_backend();
  const Model again = load_model(*backend, place / "out");
  ASSERT_NE(again.embeddings.projection, nullptr);
  EXPECT_EQ(again.embeddings.projection->tensor().rows, 8);
}

TEST_F(FactorizeCommand, TrainsFactorsOfMatricesAndOfEmbeddings) {
  for (const std::vector<std::string>& method :
       {std::vector<std::string>{"--method", "drone", "--ratio", "0.6"}, {"--method", "embedding", "--rank", "8"}}) {
    const std::string output = method[1];
    std::vector<std::string> arguments = train_arguments(output, method);
    arguments[0] = "factorize";
    arguments.push_back("--json");
    const Outcome outcome = bertx(arguments);
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_GT(outcome.json().at("eval_accuracy").get<double>(), 0.8) << output;
  }
  EXPECT_EQ(kind_of("drone"), "low_rank");
  EXPECT_EQ(kind_of("embedding"), "dense");
}

TEST_F(FactorizeCommand, BadFlagsAreNamedAndNothingIsWritten) {
  const auto refused = [&](const std::vector<std::string>& flags, const std::string& words) {
    const Outcome outcome = factorize("out", flags);
    EXPECT_EQ(outcome.code, 2) << outcome.err;
    EXPECT_HAS(outcome.err, words);
    EXPECT_FALSE(fs::exists(place / "out/model.safetensors"));
  };
  refused({"--rank", "33"}, "rank: found 33, expected at most 32, the full rank of");
  refused({"--rank", "22"}, "rank: found 22, expected at most 21");
  refused({"--method", "embedding", "--rank", "20"}, "rank: found 20, expected at most 15");
  refused({"--rank", "0"}, "rank");
  refused({"--rank", "4", "--rank_by", "energy"}, "expected one of the two");
  refused({"--energy", "0.8"}, "energy: found 0.8, expected it with rank_by energy");
  refused({"--ratio", "0.001"}, "ratio: found 0.001");
  refused({"--method", "drone"}, "needs labelled texts");
  refused({"--method", "fwsvd"}, "needs labelled texts");
  refused({"--remainder_sparsity", "0.9"}, "method svd does not read it");
  refused({"--method", "svdd"}, "svd");
}

}  // namespace
}  // namespace bertx::test
