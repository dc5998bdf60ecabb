// Teachers and options that do not fit are named; labels are found by name.
#include "distillation_fixture.h"

namespace bertx::test {
namespace {

using compress::Distillation;

std::string message_of(ErrorKind kind, const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}
#define EXPECT_PART(message, part) EXPECT_NE((message).find(part), std::string::npos) << (message)

struct Misfits : testing::Test {
  std::unique_ptr<Backend> backend = make_reference_backend();
  Distillation how;

  std::string refused(ErrorKind kind, const Config& student, const Config& teacher) {
    return message_of(kind, [&] {
      Model pupil = make_model(*backend, student, 1);
      compress::make_distillation(*backend, make_model(*backend, teacher, 2), "out/big", how)->begin(*backend, pupil);
    });
  }
};

TEST_F(Misfits, OfAnotherTask) {
  const Config student = tiny_config(tiny_heads().front());
  Config teacher = student;
  teacher.labels.emplace_back("LABEL_3");
  EXPECT_PART(refused(ErrorKind::bad_input, student, teacher), "out/big: found 4 labels, expected 3");
  teacher = student;
  teacher.problem = ProblemKind::multi_label;
  teacher.problem_is_stated = true;
  EXPECT_PART(refused(ErrorKind::bad_input, student, teacher), "found problem_type multi_label, expected single_label");
  EXPECT_PART(refused(ErrorKind::bad_input, student, tiny_config(tiny_heads()[3])),
              "found BertForTokenClassification, expected BertForSequenceClassification");
  Config named = student;
  named.labels = {"cat", "dog", "cow"};
  teacher.problem = ProblemKind::single_label;
  teacher.labels = {"cat", "dog", "hen"};
  EXPECT_PART(refused(ErrorKind::bad_input, named, teacher), "cow");
}

TEST_F(Misfits, OfAnotherShape) {
  const TinyHead head = tiny_heads().front();
  const Config student = tiny_config(head), wide = teacher_config("response"), same_width = teacher_config("pkd");
  how.kind = "pkd";
  EXPECT_PART(refused(ErrorKind::usage, student, wide), "found hidden size 12 of the student, expected 15");
  EXPECT_PART(refused(ErrorKind::usage, same_width, student), "found 4 layers of the student, expected 2 to 2");
  how.kind = "distilbert";
  EXPECT_PART(refused(ErrorKind::usage, student, wide), "found hidden size 12");
  Config fewer_heads = wide;
  for (LayerShape& layer : fewer_heads.layers) layer.heads = 2;
  for (const char* kind : {"tinybert", "minilm"}) {
    how.kind = kind;
    EXPECT_PART(refused(ErrorKind::usage, student, fewer_heads), "found 3 heads in layer");
  }
}

TEST_F(Misfits, Options) {
  const Config config = tiny_config(tiny_heads().front());
  how.kind = "tinybird";
  EXPECT_PART(refused(ErrorKind::usage, config, config), "tinybert");
  how = {.kind = "response", .hidden_weight = 1.0};
  EXPECT_PART(refused(ErrorKind::usage, config, config), "hidden_weight: distillation response does not read it");
  how = {.kind = "minilm", .teacher_layers = "last"};
  EXPECT_PART(refused(ErrorKind::usage, config, config), "teacher_layers: distillation minilm does not read it");
  how = {.temperature = 0.0};
  EXPECT_PART(refused(ErrorKind::usage, config, config), "temperature: found 0");
  how = {.hard_weight = 1.5};
  EXPECT_PART(refused(ErrorKind::usage, config, config), "hard_weight: found 1.5");
  how = {.temperature = 3.0};
  const Config number = tiny_config(tiny_heads()[1]);
  EXPECT_PART(refused(ErrorKind::usage, number, number), "temperature: found 3, expected none");
}

TEST_F(Misfits, Vocabularies) {
  const std::vector<std::string> words{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad"};
  std::vector<std::string> other = words, longer = words;
  other[6] = "evil", longer.emplace_back("ugly");
  TokenizerOptions cased;
  cased.lowercase = false;
  const Tokenizer student(words);
  const auto refused = [&](const Tokenizer& teacher) {
    return message_of(ErrorKind::bad_input,
                      [&] { compress::require_same_vocabulary(teacher, "out/big", student, "out/small"); });
  };
  compress::require_same_vocabulary(Tokenizer(words), "out/big", student, "out/small");
  for (const Tokenizer& teacher : {Tokenizer(other), Tokenizer(longer), Tokenizer(words, cased)}) {
    EXPECT_PART(refused(teacher), "teacher of another vocabulary: out/big and out/small");
  }
  EXPECT_PART(refused(Tokenizer(other)), "found token 6 \"evil\", expected \"bad\"");
}

// A teacher that has the labels in another order teaches the same.
TEST(TeacherLabels, AreFoundByName) {
  const auto backend = make_reference_backend();
  Config config = tiny_config(tiny_heads().front());
  config.labels = {"no", "maybe", "yes"};
  Config turned = config;
  turned.labels = {"yes", "NO", "maybe"};
  Model teacher = make_model(*backend, config, 8), other = make_model(*backend, config, 8);
  other.config = turned;
  const Tensor w = dynamic_cast<const DenseWeight&>(*teacher.head.classifier->weight).parameter()->tensor(),
               to = dynamic_cast<const DenseWeight&>(*other.head.classifier->weight).parameter()->tensor();
  for (const auto& [from, row] : {std::pair{2, 0}, {0, 1}, {1, 2}})
    backend->copy(w.row_range(from, 1), to.row_range(row, 1));
  const auto loss_under = [&](Model&& model) {
    Lesson lesson(*backend, make_model(*backend, config, 3), std::move(model), {.hard_weight = 0});
    lesson.zero_gradients();
    return lesson.run(lesson.batch());
  };
  const double straight = loss_under(std::move(teacher));
  EXPECT_GT(straight, 1e-3);
  EXPECT_NEAR(straight, loss_under(std::move(other)), 1e-12);
}

}  // namespace
}  // namespace bertx::test
