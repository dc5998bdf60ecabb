// Recipe files: what is read, which orders make sense, and what the model says about them.
#include "bertx/recipe_file.h"

#include <gtest/gtest.h>

#include "bertx/error.h"

namespace bertx::compress {
namespace {

RecipeFile parsed(const std::string& steps) { return parse_recipe("{\"steps\": [" + steps + "]}", "r.json"); }

/// The message that parsing, and the check against a model of 4 layers and 32 features, ends in.
std::string message_of(const std::string& steps) {
  try {
    check_against(parsed(steps), make_config(4, 32, 4, 64));
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::bad_input) << error.what();
    return error.what();
  }
  return "";
}

void expect_words(const std::string& steps, std::initializer_list<const char*> words) {
  const std::string message = message_of(steps);
  for (const char* word : words) EXPECT_NE(message.find(word), std::string::npos) << steps << ": " << message;
}

TEST(RecipeFile, StepsAreReadWithWhatTheyState) {
  const RecipeFile file = parse_recipe(R"({
    "description": "small", "train": {"learning_rate": 3e-5, "bf16": true},
    "steps": [{"method": "heads", "sparsity": 0.5, "description": "first"},
              {"method": "fine_tune", "train": {"num_train_epochs": 1}},
              {"train": {}},
              {"method": "magnitude", "pattern": "2:4", "train": {}}]})",
                                       "dir/r.json");
  ASSERT_EQ(file.steps.size(), 4u);
  EXPECT_EQ(file.description, "small");
  ASSERT_EQ(file.training.size(), 2u);
  EXPECT_EQ(file.training[0].name, "bf16");
  EXPECT_EQ(file.training[0].value, "true");
  EXPECT_EQ(file.steps[0].recipe.sparsity, 0.5);
  EXPECT_EQ(file.steps[0].given, std::vector<std::string>{"sparsity"});
  EXPECT_FALSE(file.steps[0].trains);
  EXPECT_TRUE(file.steps[1].trains && file.steps[2].trains && file.steps[3].trains);
  EXPECT_EQ(file.steps[1].training.at(0).value, "1");
  EXPECT_EQ(file.steps[2].name(), "fine_tune");
  EXPECT_FALSE(file.steps[3].recipe.sparsity_is_stated);
  EXPECT_EQ(file.where(3), "dir/r.json: step 4 (magnitude)");
}

TEST(RecipeFile, SensibleOrdersAreTaken) {
  EXPECT_EQ(message_of(R"({"method": "heads"}, {"train": {}}, {"method": "tucker"}, {"method": "fine_tune"})"), "");
  EXPECT_EQ(message_of(R"({"method": "share", "groups": 2}, {"method": "magnitude"})"), "");
  EXPECT_EQ(message_of(R"({"method": "magnitude", "sparsity": 0.5}, {"method": "magnitude", "sparsity": 0.9})"), "");
}

TEST(RecipeFile, SenselessOrdersAreRefusedWithAReason) {
  expect_words(R"({"method": "magnitude"}, {"method": "heads"})",
               {"r.json: step 2 (heads)", "after step 1 (magnitude)", "expected it before", "zeros"});
  expect_words(R"({"method": "tucker"}, {"method": "share"})", {"step 2 (share)", "no common basis"});
  expect_words(R"({"method": "heads"}, {"method": "share"})", {"step 2 (share)", "only one of the two"});
  expect_words(R"({"method": "magnitude", "sparsity": 0.9}, {"train": {}}, {"method": "magnitude", "sparsity": 0.5})",
               {"step 3 (magnitude)", "at least 0.9", "step 1"});
}

TEST(RecipeFile, WhatIsWrongIsNamed) {
  expect_words(R"({"method": "magnitud"})", {"step 1", "magnitud", "did you mean 'magnitude'"});
  expect_words(R"({"method": "magnitude", "sparsity": 1.0})", {"step 1 (magnitude)", "sparsity: found 1"});
  expect_words(R"({"method": "magnitude", "sparsity": "half"})", {"sparsity: found \"half\"", "a number"});
  expect_words(R"({"method": "magnitude", "groups": 2})", {"\"groups\"", "does not read"});
  expect_words(R"({"method": "magnitude", "sparsty": 0.5})", {"sparsty", "did you mean 'sparsity'"});
  expect_words(R"({"sparsity": 0.5})", {"neither a method nor train"});
  expect_words(R"({"method": "movement"})", {"movement", "by training only"});
  expect_words(R"({"method": "magnitude", "train": {"a": {}}})", {"train: a", "object"});
  expect_words("3", {"step 1", "found 3", "an object"});
}

TEST(RecipeFile, TheModelHasTheLastWordOnSizes) {
  expect_words(R"({"method": "tucker", "tucker_rank": 33})", {"step 1 (tucker): tucker_rank: found 33", "at most 32"});
  expect_words(R"({"method": "share", "groups": 4})", {"step 1 (share): groups: found 4", "at most 3"});
  expect_words(R"({"method": "share", "groups": 2, "repair_rank": 40})", {"repair_rank: found 40", "at most 32"});
  EXPECT_EQ(message_of(R"({"method": "share", "groups": 3, "repair_rank": 32})"), "");
}

}  // namespace
}  // namespace bertx::compress
