// tools/rivals: its table, its goals and its JSON, with other runtimes played by a script; who is missing is left out.
#include "command.h"

namespace bertx::test {
namespace {

class RivalsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (std::system("python3 -c 'import json' > /dev/null 2>&1") != 0) GTEST_SKIP() << "no python3 on this machine";
    // The command itself, but of a model that is small enough for a test.
    tiny = program("bertx", std::string("#!/bin/sh\nexec ") + BERTX_COMMAND + " bench " +
                                write_tiny_model(place / "model", {"no", "yes"}).string() +
                                " --sparsity 0,0.8,0.9,0.95 --tokens 8 --reps 1 --threads 1 --json\n");
  }
  /// A program at place/name that tools/rivals may start as its Python.
  std::string program(const std::string& name, const std::string& text) {
    write_all(place / name, text);
    fs::permissions(place / name, fs::perms::owner_all);
    return (place / name).string();
  }
  int rivals(const std::string& flags) {
    const std::string command = std::string(BERTX_SOURCE_DIR) + "/tools/rivals --bertx " + tiny +
                                " --preset minilm-l6 --threads 1 --rounds 2 --reps 1 " + flags + " > " +
                                (place / "out").string() + " 2> " + (place / "err").string();
    const int status = std::system(command.c_str());
    out = read_all(place / "out"), err = read_all(place / "err");
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  Workplace place;
  std::string tiny, out, err;
};

// Answers as a runtime would whose passes take an hour; DeepSparse is not there.
constexpr const char* kScript = R"(#!/usr/bin/env python3
import json, sys
task = json.loads(sys.argv[2])
if task["runtime"] == "DeepSparse":
    print(json.dumps({"error": "ImportError: none here"}), flush=True)
    sys.exit()
print(json.dumps({"ready": "7.0"}), flush=True)
for line in sys.stdin:
    print(json.dumps([3.6e6 + i for i in range(int(line))]), flush=True)
)";

TEST_F(RivalsTest, TurnsRatiosAndGoals) {
  const std::string json = (place / "found.json").string();
  ASSERT_EQ(rivals("--case shorter --python " + program("python", kScript) + " --json " + json), 0) << err;
  EXPECT_HAS(out, "minilm-l6, 1 x 8 tokens, 1 thread; 2 turns of 1");
  EXPECT_HAS(out, "bertx dense against OpenVINO");
  EXPECT_HAS(err, "DeepSparse is left out: ImportError: none here");
  const Json report = Json::parse(read_all(json));
  const Json& found = report["cases"]["shorter"];
  for (const char* row : {"OpenVINO", "onnxruntime", "bertx dense", "bertx 80 %", "bertx 95 %"}) {
    ASSERT_TRUE(found["rows"].contains(row)) << row;
    EXPECT_EQ(found["rows"][row]["min_ms_of_turns"].size(), 2u);
    EXPECT_GE(found["rows"][row]["median_ms"], found["rows"][row]["min_ms"]);
  }
  EXPECT_EQ(found["rows"]["OpenVINO"]["version"], "7.0");
  ASSERT_EQ(found["ratios"].size(), 1u);  // without DeepSparse only the goal of dense models is left
  const double expected = 3.6e6 / found["rows"]["bertx dense"]["min_ms"].get<double>();
  EXPECT_NEAR(found["ratios"][0]["of_minima"].get<double>(), expected, 1e-6 * expected);
}

// On a GPU: PyTorch as it is and compiled, in the type of bertx, and limits in milliseconds.
TEST_F(RivalsTest, OnAGpu) {
  const std::string json = (place / "found.json").string();
  tiny = program("bertx", "#!/bin/sh\ncase \"$*\" in *--help) echo --dtype;; *--device\\ cuda*) echo '" +
                              Json{{"rows",
                                    {{{"sparsity", 0},
                                      {"dtype", "bf16"},
                                      {"lengths", "equal"},
                                      {"kernel", "dense-bf16-fused"},
                                      {"min_ms", 0.5},
                                      {"median_ms", 0.75}}}}}
                                  .dump() +
                              "';; esac\n");
  const std::string flags = "--device cuda --case latency --preset bert-base --json " + json + " --python ";
  ASSERT_EQ(rivals(flags + program("python", kScript)), 0) << err;
  EXPECT_HAS(out, "bert-base, 1 x 128 tokens, bf16, on a GPU; 2 turns of 1");
  EXPECT_HAS(out, "bertx dense bf16: 0.500 ms, at most 0.670 ms (0.67 ms)");
  const Json found = Json::parse(read_all(json))["cases"]["latency"];
  ASSERT_EQ(found["ratios"].size(), 2u);
  EXPECT_EQ(found["ratios"][0]["slower"], "PyTorch bf16");
  EXPECT_EQ(found["ratios"][1]["slower"], "PyTorch compiled bf16");
  EXPECT_EQ(rivals("--device cuda --case short"), 2);
  EXPECT_HAS(err, "found 'short'");
}

TEST_F(RivalsTest, AloneWhereNothingElseIsInstalled) {
  const std::string none = program("none", "#!/bin/sh\necho 'No module named x' >&2\nexit 1\n");
  ASSERT_EQ(rivals("--case shorter --rounds 1 --python " + none), 0) << err;
  EXPECT_HAS(err, "ONNX export: ended with 1: No module named x");
  EXPECT_HAS(out, "bertx 90 %");
}

TEST_F(RivalsTest, FlagsThatMakeNoSense) {
  EXPECT_EQ(rivals("--case latencies"), 2);
  EXPECT_HAS(err, "found 'latencies'");
  EXPECT_EQ(rivals("--case pruned"), 2);
  EXPECT_EQ(rivals("--rounds 0"), 2);
  EXPECT_EQ(rivals("--json /proc/none/x.json"), 2);
  EXPECT_EQ(rivals("--bertx /nonexistent"), 2);
}

}  // namespace
}  // namespace bertx::test
