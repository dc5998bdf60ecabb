// A fine-tuned tiny model, and recipes to compress it by.
#pragma once

#include "command.h"

namespace bertx::test {

class RecipeTest : public ToolsTest {
 protected:
  void SetUp() override {
    ToolsTest::SetUp();
    trained = (place / "trained").string();
    ASSERT_EQ(bertx(train_arguments("trained", {"--save_strategy", "no"})).code, 0);
  }
  std::vector<std::string> compress_arguments(const std::string& recipe, const std::string& output,
                                              const std::vector<std::string>& more = {}) const {
    write_all(place / "recipe.json", recipe);
    auto out = train_arguments(output, {"--recipe", (place / "recipe.json").string(), "--num_train_epochs", "2",
                                        "--latency_passes", "1", "--threads", "1"});
    out[0] = "compress";
    out[2] = trained;
    out.insert(out.end(), more.begin(), more.end());
    return out;
  }
  Outcome compress(const std::string& recipe, const std::string& output,
                   const std::vector<std::string>& more = {}) const {
    return bertx(compress_arguments(recipe, output, more));
  }
  /// EXPECT_TRUE takes it: the files themselves are nothing to print.
  bool same_model(const std::string& a, const std::string& b) const {
    const std::string first = read_all(place / a / "model.safetensors");
    return !first.empty() && first == read_all(place / b / "model.safetensors");
  }
  std::string trained;
};

inline const std::string kTwoSteps = R"({"steps": [
  {"method": "heads", "sparsity": 0.5},
  {"method": "magnitude", "sparsity": 0.6, "train": {"learning_rate": 1e-3, "save_steps": 4}}]})";

}  // namespace bertx::test
