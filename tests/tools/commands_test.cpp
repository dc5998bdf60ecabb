// The command line itself: help, version, misspellings, exit codes, standard output that cannot be written.
#include "command.h"

namespace bertx::test {
namespace {

TEST_F(ToolsTest, HelpAndVersion) {
  const Outcome version = bertx({"--version"});
  EXPECT_EQ(version.code, 0);
  for (const char* part : {"bertx 0.", "build:", "instruction sets: found", "oneDNN:", "backends: reference, cpu"}) {
    EXPECT_HAS(version.out, part);
  }
  for (const char* command : {"train", "prune", "factorize", "share", "distill", "compress", "export", "importance",
                              "eval", "predict", "tokenize", "inspect", "bench"}) {
    const Outcome help = bertx({command, "--help"});
    EXPECT_EQ(help.code, 0) << command << help.err;
    EXPECT_HAS(help.out, "--model_name_or_path");
    EXPECT_HAS(help.out, "Examples:");
    EXPECT_EQ(bertx({"help", command}).out, help.out);
    EXPECT_HAS(bertx({"help"}).out, command);
  }
}

TEST_F(ToolsTest, MisspeltNamesSuggestTheNearest) {
  const Outcome command = bertx({"trian"});
  EXPECT_EQ(command.code, 2);
  EXPECT_HAS(command.err, "did you mean 'train'?");
  const Outcome flag = bertx({"train", "--learing_rate", "1e-5"});
  EXPECT_EQ(flag.code, 2);
  EXPECT_HAS(flag.err, "bertx train: error: ");
  EXPECT_HAS(flag.err, "'--learing_rate'");
  EXPECT_HAS(flag.err, "did you mean '--learning_rate'?");
  EXPECT_HAS(bertx({"eval", "--modle_name_or_path", "x"}).err, "'--model_name_or_path'");
  EXPECT_HAS(bertx({"train", "-learning_rate", "1"}).err, "expected '--learning_rate'");
  EXPECT_HAS(bertx({"prune", "--method", "magnitud", "--model", model, "--output_dir", (place / "o").string()}).err,
             "'magnitude'");
  EXPECT_FALSE(contains(bertx({"train", "--zzzzzzzz", "1"}).err, "did you mean"));
}

TEST_F(ToolsTest, WhatMakesNoSenseEndsWithTwo) {
  EXPECT_EQ(bertx({}).code, 2);
  EXPECT_EQ(bertx({"predict"}).code, 2);
  EXPECT_EQ(bertx({"predict", "stray"}).code, 2);
  EXPECT_EQ(bertx({"train", "--seed"}).code, 2);
  EXPECT_EQ(bertx({"bench"}).code, 2);
  EXPECT_EQ(bertx({"bench", model, "--preset", "minilm-l6"}).code, 2);
  const Outcome device = bertx({"inspect", model, "--device", "cuda"});
  if (device.code != 0) {  // a build with cuda has it where there is a GPU
    EXPECT_EQ(device.code, 2);
    EXPECT_TRUE(contains(device.err, "BERTX_BACKEND=cuda") || contains(device.err, "no GPU can be used")) << device.err;
  }
}

TEST_F(ToolsTest, MissingAndBrokenFiles) {
  EXPECT_EQ(bertx({"inspect", (place / "nowhere").string()}).code, 4);
  EXPECT_EQ(bertx({"tokenize", "--model", model, "--input", (place / "nowhere").string()}).code, 4);
  EXPECT_EQ(bertx({"tokenize", "--model", model, "--input", place.path().string()}).code, 3);
  write_all(place / "model/config.json", "{\"hidden_size\": \"big\"}");
  const Outcome broken = bertx({"inspect", model});
  EXPECT_EQ(broken.code, 3);
  EXPECT_HAS(broken.err, "config.json");
  EXPECT_HAS(broken.err, "hidden_size");
}

TEST_F(ToolsTest, StandardOutputThatCannotBeWrittenEndsWithFour) {
  const std::vector<std::string> arguments{"inspect", model, "--json"};
  const Outcome full = bertx(arguments, {"", {}, "/dev/full"});
  EXPECT_EQ(full.code, 4);
  EXPECT_HAS(full.err, "standard output");
  const Outcome closed = bertx(arguments, {"", {}, "closed"});
  EXPECT_EQ(closed.code, 4);
  EXPECT_HAS(closed.err, "standard output");
  EXPECT_EQ(bertx({"--version"}, {"", {}, "closed"}).code, 4);
}

TEST_F(ToolsTest, AReaderThatGoesAwayEndsItQuietly) {
  std::string lines;
  for (int i = 0; i < 20000; ++i) lines += "the film was very good\n";
  write_all(place / "lines", lines);
  const std::string script = std::string(BERTX_COMMAND) + " tokenize --model " + model + " --input " +
                             (place / "lines").string() + " 2> " + (place / "err").string() + "; echo $? > " +
                             (place / "code").string();
  const int status = std::system(("{ " + script + "; } | head -1 > /dev/null").c_str());
  EXPECT_EQ(status, 0);
  EXPECT_EQ(read_all(place / "code"), "4\n");
  EXPECT_EQ(read_all(place / "err"), "");
}

TEST_F(ToolsTest, OpenMpsOwnVariablesDoNotBreakIt) {
  for (const char* threads : {"0", "-1", "many", ""}) {
    EXPECT_EQ(bertx({"inspect", model}, {"", {{"OMP_NUM_THREADS", threads}}, ""}).code, 0) << threads;
  }
  EXPECT_EQ(bertx({"inspect", model, "--threads", "-1"}).code, 2);
}

TEST_F(ToolsTest, AForcedInstructionSetIsNamedOrRefused) {
  EXPECT_HAS(bertx({"--version"}, {"", {{"BERTX_ISA", "portable"}}, ""}).out, "active portable");
  const Outcome wrong = bertx({"--version"}, {"", {{"BERTX_ISA", "mmx"}}, ""});
  EXPECT_EQ(wrong.code, 2);
  EXPECT_HAS(wrong.err, "BERTX_ISA");
}

}  // namespace
}  // namespace bertx::test
