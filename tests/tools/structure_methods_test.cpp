// Heads, neurons and layers removed by the command, at once and in training, in both forms of the written directory.
#include "command.h"

namespace bertx::test {
namespace {

double figure(const fs::path& file, const std::string& key) {
  return Json::parse(read_all(file)).at(key).get<double>();
}

TEST_F(ToolsTest, HeadsNeuronsAndLayersOfATrainedModel) {
  const fs::path trained = place / "trained";
  ASSERT_EQ(bertx(train_arguments("trained")).code, 0);
  const auto prune = [&](const std::string& output, const std::vector<std::string>& more) {
    std::vector<std::string> arguments = train_arguments(output, {"--latency_passes", "0", "--num_train_epochs", "1"});
    arguments[0] = "prune";
    arguments[2] = trained.string();
    arguments.insert(arguments.end(), more.begin(), more.end());
    return bertx(arguments);
  };
  const double whole = figure(trained / "eval_results.json", "eval_accuracy");

  // 1. At once: half of the multiplies, and it still knows what it has learnt.
  const Outcome search = prune("search", {"--method", "mask_search", "--budget", "0.5", "--one_shot"});
  ASSERT_EQ(search.code, 0) << search.err;
  const double before = figure(place / "search/all_results.json", "compression_multiplies_before"),
               after = figure(place / "search/all_results.json", "compression_multiplies_after");
  EXPECT_LT(after, 0.55 * before);
  EXPECT_GE(figure(place / "search/eval_results.json", "eval_accuracy"), whole - 0.3);

  // 2. A floor of the metric: the task's own, on the training texts.
  const Outcome floor = prune("floor", {"--method", "neurons", "--metric_floor", "0.9", "--one_shot"});
  ASSERT_EQ(floor.code, 0) << floor.err;
  const Json shape = Json::parse(read_all(place / "floor/config.json")).at("bertx_layers");
  EXPECT_LT(shape[0]["intermediate_size"].get<int>() + shape[1]["intermediate_size"].get<int>(), 128);
  const Outcome high = prune("high", {"--method", "heads", "--importance", "taylor", "--one_shot"});
  EXPECT_EQ(high.code, 2);
  EXPECT_HAS(high.err, "importance: found \"taylor\" with method heads");

  // 3. Layers: fewer in config.json, in both forms, with and without data.
  for (const std::string form : {"native", "dense"}) {
    const Outcome layers = prune("layers-" + form, {"--method", "layers", "--export", form});
    ASSERT_EQ(layers.code, 0) << layers.err;
    const Json config = Json::parse(read_all(place / ("layers-" + form) / "config.json"));
    EXPECT_EQ(config["num_hidden_layers"], 1);
    EXPECT_FALSE(config.contains("bertx_layers"));
    EXPECT_EQ(
        bertx({"eval", "--model", (place / ("layers-" + form)).string(), "--validation_file", validation_file}).code,
        0);
  }
  const std::string out = (place / "named").string();
  ASSERT_EQ(bertx({"prune", "--model", trained.string(), "--method", "layers", "--keep_layers", "1", "--output_dir",
                   out, "--latency_passes", "0"})
                .code,
            0);
  const Outcome contribution = bertx({"prune", "--model", trained.string(), "--method", "layers", "--which",
                                      "contribution", "--output_dir", (place / "none").string()});
  EXPECT_EQ(contribution.code, 2);
  EXPECT_HAS(contribution.err, "which: found contribution and no texts");
  EXPECT_HAS(prune("none", {"--method", "layers", "--drop", "2"}).err,
             "drop: found 2 with which top, expected at most 1");
}

}  // namespace
}  // namespace bertx::test
