// What comes out of any method of compression can be measured, trained on, resumed, compressed again, looked at and
// exported. New methods are found in the table and need no line here but for options that the tiny model is too small
// for.
#include <cctype>

#include "bertx/recipe.h"
#include "recipe_fixture.h"

namespace bertx::test {
namespace {

/// Values of options for a model of 2 layers, 4 heads, 32 features and 64 neurons.
Json options_of(const compress::Method& method) {
  const Json small{{"sparsity", 0.5},     {"rank", 8},         {"tucker_rank", 12},        {"tucker_cores", 8},
                   {"drop", 1},           {"block_height", 8}, {"block_width", 8},         {"fisher_gradients", 16},
                   {"recomputations", 2}, {"rounds", 2},       {"calibration_samples", 32}};
  Json step{{"method", method.name}};
  for (const std::string_view option : compress::words(method.options)) {
    if (const auto value = small.find(option); value != small.end()) step[std::string(option)] = *value;
  }
  return step;
}

std::string name_of_test(std::string_view method, bool trains) {
  return std::string(method) + (trains ? "_in_training" : "_at_once");
}

struct Case {
  std::string method;
  bool trains;
};

std::vector<Case> cases() {
  std::vector<Case> out;
  for (const compress::Method& method : compress::methods()) {
    out.push_back({std::string(method.name), method.training == compress::Training::always});
  }
  return out;
}

class EveryMethod : public RecipeTest, public ::testing::WithParamInterface<Case> {
 protected:
  double accuracy(const std::string& directory) const {
    const Outcome eval = bertx({"eval", "--model", (place / directory).string(), "--validation_file", validation_file,
                                "--json", "--threads", "1"});
    EXPECT_EQ(eval.code, 0) << directory << eval.err;
    return eval.code == 0 ? eval.json()["eval_accuracy"].get<double>() : -1;
  }
  /// train, from one directory into another.
  Outcome train(const std::string& from, const std::string& to, const std::vector<std::string>& more = {}) const {
    auto arguments =
        train_arguments(to, {"--max_steps", "4", "--save_steps", "2", "--learning_rate", "1e-4", "--threads", "1"});
    arguments[2] = (place / from).string();
    arguments.insert(arguments.end(), more.begin(), more.end());
    return bertx(arguments);
  }
};

TEST_P(EveryMethod, GivesAModelThatEverythingCanBeDoneWith) {
  // 1. Compressed, measured, looked at.
  Json step = options_of(compress::find_method(GetParam().method));
  if (GetParam().trains) step["train"] = {{"max_steps", 8}};
  const Outcome made = compress(Json{{"steps", {step}}}.dump(), "made", {"--latency_passes", "0", "--json"});
  ASSERT_EQ(made.code, 0) << made.err;
  EXPECT_EQ(made.json()["steps"][0]["figures"]["eval_accuracy"], accuracy("made"));
  const Outcome inspected = bertx({"inspect", (place / "made").string(), "--json"});
  ASSERT_EQ(inspected.code, 0) << inspected.err;
  EXPECT_EQ(inspected.json()["parameters"], made.json()["steps"][0]["parameters"]);

  // 2. Trained on; resumed in the middle, it ends in the same model.
  ASSERT_EQ(train("made", "more").code, 0);
  fs::create_directories(place / "again");
  fs::copy(place / "more/checkpoint-2", place / "again/checkpoint-2", fs::copy_options::recursive);
  const Outcome resumed = train("made", "again", {"--resume_from_checkpoint", "true"});
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_TRUE(same_model("more", "again"));
  EXPECT_FALSE(same_model("more", "made"));
  const Json kinds = bertx({"inspect", (place / "more").string(), "--json"}).json()["kinds"];
  EXPECT_EQ(kinds, inspected.json()["kinds"]);

  // 3. Exported: as a plain directory it says the same.
  const Outcome plain = bertx({"export", "--model", (place / "more").string(), "--output_dir",
                               (place / "plain").string(), "--json", "--threads", "1"});
  ASSERT_EQ(plain.code, 0) << plain.err;
  EXPECT_LE(plain.json()["logit_difference"].get<double>(), 1e-4);
  EXPECT_EQ(accuracy("plain"), accuracy("more"));

  // 4. Compressed again, or refused by a message that says which weight is in the way.
  for (const char* method : {"magnitude", "heads"}) {
    const std::string recipe = Json{{"steps", {{{"method", method}, {"sparsity", 0.75}}}}}.dump();
    const Outcome twice = compress(recipe, method, {"--model", (place / "more").string(), "--latency_passes", "0"});
    const bool refused = twice.code == 2 && contains(twice.err, "layer") && contains(twice.err, "expected");
    EXPECT_TRUE(twice.code == 0 || refused) << method << ": " << twice.err;
  }
  // A plain directory hides nothing.
  const Outcome of_plain = compress(R"({"steps": [{"method": "magnitude", "sparsity": 0.75}]})", "twice",
                                    {"--model", (place / "plain").string(), "--latency_passes", "0"});
  EXPECT_EQ(of_plain.code, 0) << of_plain.err;
}

INSTANTIATE_TEST_SUITE_P(Methods, EveryMethod, ::testing::ValuesIn(cases()),
                         [](const auto& test) { return name_of_test(test.param.method, test.param.trains); });

}  // namespace
}  // namespace bertx::test
