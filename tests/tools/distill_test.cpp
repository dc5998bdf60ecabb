// bertx distill, and --teacher in the commands that train.
#include "command.h"

namespace bertx::test {
namespace {

struct DistillTest : ToolsTest {
  std::string teacher;

  void SetUp() override {
    ToolsTest::SetUp();
    const Outcome outcome = bertx(train_arguments("teacher", {}));
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    teacher = (place / "teacher").string();
  }
  Outcome taught(const std::string& command, const std::string& output, std::vector<std::string> more) {
    auto arguments = train_arguments(output, std::move(more));
    arguments[0] = command;
    return bertx(arguments);
  }
  void expect_refused(const std::string& command, int code, const std::vector<std::string>& more,
                      const std::string& part) {
    const Outcome outcome = taught(command, "refused", more);
    EXPECT_EQ(outcome.code, code) << outcome.err;
    EXPECT_HAS(outcome.err, part);
    EXPECT_FALSE(fs::exists(place / "refused/config.json"));
  }
};

TEST_F(DistillTest, TeachesWithoutLabels) {
  for (const std::string kind : {"response", "tinybert"}) {
    const Outcome outcome =
        taught("distill", kind,
               {"--teacher", teacher, "--distillation", kind, "--hard_weight", "0", "--logging_steps", "2", "--json"});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_HAS(outcome.err, "loss_teacher");
    EXPECT_GT(outcome.json().at("eval_accuracy").get<double>(), 0.9) << kind;
  }
  int kept = 0;
  for (const auto& entry : fs::directory_iterator(place / "response"))
    kept += entry.path().filename().string().starts_with("teacher-");
  EXPECT_EQ(kept, 1);
}

TEST_F(DistillTest, GoesWithPruningAndWithACompressedTeacher) {
  const std::string cache = (place / "answers").string();
  const Outcome pruned =
      taught("prune", "pruned",
             {"--method", "magnitude", "--sparsity", "0.5", "--teacher", teacher, "--teacher_cache", cache, "--json"});
  ASSERT_EQ(pruned.code, 0) << pruned.err;
  EXPECT_FALSE(fs::is_empty(cache));
  const Outcome taught_by_it =
      taught("train", "second", {"--teacher", (place / "pruned").string(), "--temperature", "4", "--json"});
  EXPECT_EQ(taught_by_it.code, 0) << taught_by_it.err;
}

TEST_F(ToolsTest, ListsTheKindsOfDistillation) {
  const std::string page = bertx({"help", "methods"}).out;
  for (const char* part : {"Distillation (bertx distill, or --teacher", "1909.10351", "--attention_weight"}) {
    EXPECT_HAS(page, part);
  }
}

TEST_F(DistillTest, PlansTheTeachersMemory) {
  const Outcome outcome = taught("distill", "planned", {"--teacher", teacher, "--dry_run", "--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_GT(outcome.json().at("memory").at("teacher").get<std::int64_t>(), 10000);
  EXPECT_FALSE(fs::exists(place / "planned"));
}

TEST_F(DistillTest, RefusesFlagsThatNothingReads) {
  expect_refused("distill", 2, {}, "--teacher is missing");
  expect_refused("train", 2, {"--temperature", "3"}, "--temperature: found without --teacher");
  expect_refused("distill", 2, {"--teacher", teacher, "--hidden_weight", "3"},
                 "--hidden_weight: --distillation response does not read it");
  expect_refused("distill", 2, {"--teacher", teacher, "--distillation", "minilm", "--teacher_layers", "last"},
                 "--teacher_layers: --distillation minilm does not read it");
  expect_refused("prune", 2, {"--teacher", teacher, "--one_shot"}, "nothing is trained");
  expect_refused("distill", 2, {"--teacher", teacher, "--hard_weight", "2"}, "--hard_weight");
}

TEST_F(DistillTest, RefusesTeachersThatDoNotFit) {
  expect_refused("distill", 4, {"--teacher", (place / "nowhere").string()}, "nowhere");
  expect_refused("distill", 3, {"--teacher", model}, "expected BertForSequenceClassification");
  const std::string other = write_tiny_model(place / "other", {"negative", "positive", "neither"}).string();
  expect_refused("distill", 3, {"--teacher", other}, "found 3 labels, expected 2");
  auto words = tiny_vocabulary();
  std::swap(words[5], words[9]);
  Tokenizer(words).save(other);
  expect_refused("distill", 3, {"--teacher", other}, "teacher of another vocabulary: " + other);
}

}  // namespace
}  // namespace bertx::test
