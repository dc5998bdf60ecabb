// The tuner: what it chooses from given times, what it remembers, and that no choice changes a result.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include "backend/cpu/tuner.h"
#include "bertx/error.h"
#include "bertx/sparse/csr.h"
#include "core/tolerance.h"

namespace bertx::cpu {
namespace {

namespace fs = std::filesystem;

const Machine kMachine{"a processor", "avx2"};

/// times[t][f] of names[f] at the t-th of kTunedTokens.
Timings timings_of(const std::vector<std::string>& names, const std::vector<std::vector<double>>& times) {
  Timings out;
  for (std::size_t t = 0; t < std::size(kTunedTokens); ++t) {
    for (std::size_t f = 0; f < names.size(); ++f) out[kTunedTokens[t]][names[f]] = times[t][f];
  }
  return out;
}

TEST(Tuner, TakesTheFastestFormAndAFurtherOneOnlyWhereItIsWorthItsMemory) {
  const std::vector<std::string> names{"a", "b", "c"};
  // a is best over all; b saves a third with one token; c saves two per cent with 128.
  const Timings timings =
      timings_of(names, {{3, 2, 9}, {3, 3, 9}, {3, 4, 9}, {3, 4, 9}, {3, 4, 9}, {3, 4, 9}, {3, 4, 2.94}});
  EXPECT_EQ(choose_forms(timings, names), (std::vector<std::size_t>{1, 0, 0, 0, 0, 0, 0}));
}

TEST(Tuner, UsesAFormThatIsHeldAnywayForAnySaving) {
  const std::vector<std::string> names{"a", "b"};
  // b comes in for 64 tokens and then serves 32 tokens, too, where it saves a per cent only.
  const Timings timings = timings_of(names, {{1, 9}, {1, 9}, {1, 9}, {1, 9}, {1, 0.99}, {1, 0.5}, {1, 2}});
  EXPECT_EQ(choose_forms(timings, names), (std::vector<std::size_t>{0, 0, 0, 0, 1, 1, 0}));
}

TEST(Tuner, IsNeverSlowerThanAnyFormByMoreThanAForms5PerCent) {
  std::mt19937 random(3);
  std::uniform_real_distribution<double> time(1, 3);
  const std::vector<std::string> names{"a", "b", "c", "d"};
  for (int turn = 0; turn < 200; ++turn) {
    std::vector<std::vector<double>> times(std::size(kTunedTokens), std::vector<double>(names.size()));
    for (auto& row : times) {
      for (double& t : row) t = time(random);
    }
    const auto chosen = choose_forms(timings_of(names, times), names);
    for (std::size_t t = 0; t < times.size(); ++t) {
      EXPECT_LE(0.95 * times[t][chosen[t]], *std::ranges::min_element(times[t]) * (1 + 1e-12));
    }
  }
}

class TuningFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "bertx-tuning-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory = pattern;
    path = (directory / "cache" / "tuning.json").string();
  }
  void TearDown() override { fs::remove_all(directory); }
  std::string content() const {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  fs::path directory;
  std::string path;
  const Timings some{{1, {{"a", 0.5}, {"b", 0.25}}}, {128, {{"a", 2.0}}}};
};

TEST_F(TuningFileTest, RemembersFromProcessToProcess) {
  TuningFile(path, kMachine).put("4x4", some);
  EXPECT_EQ(TuningFile(path, kMachine).find("4x4"), some);
  EXPECT_EQ(TuningFile(path, kMachine).find("8x8"), std::nullopt);
}

TEST_F(TuningFileTest, KeepsWhatAnotherProcessWroteMeanwhile) {
  TuningFile first(path, kMachine), second(path, kMachine);
  first.put("first", some);
  second.put("second", some);
  EXPECT_EQ(TuningFile(path, kMachine).find("first"), some);
  EXPECT_EQ(TuningFile(path, kMachine).find("second"), some);
}

TEST_F(TuningFileTest, CountsADamagedFileOrOneOfAnotherMachineAsEmpty) {
  TuningFile(path, kMachine).put("4x4", some);
  const std::string good = content();
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string bad = good;
    const std::size_t at = bad.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    bad.replace(at, from.size(), to);
    std::ofstream(path) << bad;
  };
  with("\"kernels\": \"", "\"kernels\": \"x");
  EXPECT_EQ(TuningFile(path, kMachine).find("4x4"), std::nullopt);
  with("0.25", "-0.25");
  EXPECT_EQ(TuningFile(path, kMachine).find("4x4"), std::nullopt);
  with("0.25", "\"fast\"");
  EXPECT_EQ(TuningFile(path, kMachine).find("4x4"), std::nullopt);
  std::ofstream(path) << good.substr(0, good.size() / 2);
  EXPECT_EQ(TuningFile(path, kMachine).find("4x4"), std::nullopt);
  TuningFile(path, kMachine).put("8x8", some);
  EXPECT_EQ(TuningFile(path, kMachine).find("8x8"), some);
}

TEST_F(TuningFileTest, DoesWithoutAPlaceToWrite) {
  std::ofstream(directory / "file");
  TuningFile file((directory / "file" / "tuning.json").string(), kMachine);
  file.put("4x4", some);
  EXPECT_EQ(file.find("4x4"), some);
  TuningFile nowhere("", kMachine);
  nowhere.put("4x4", some);
  EXPECT_EQ(nowhere.find("4x4"), some);
}

/// Sets BERTX_TUNE, and BERTX_TUNE_FILE to no place that could be written.
class Environment {
 public:
  explicit Environment(const char* tune) {
    ::setenv("BERTX_TUNE", tune, 1);
    ::setenv("BERTX_TUNE_FILE", "/dev/null/tuning.json", 1);
  }
  ~Environment() { ::setenv("BERTX_TUNE", "off", 1); }
};

TEST(Tuner, RefusesAnUnknownSetting) {
  const Environment environment("fast");
  try {
    tuning_wanted();
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_NE(std::string(error.what()).find("BERTX_TUNE: found \"fast\", expected on or off"), std::string::npos);
  }
}

TEST(Tuner, NoChoiceChangesAResultBeyondRounding) {
  const Environment environment("on");
  const auto backend = make_cpu_backend();
  std::mt19937 random(9);
  std::normal_distribution<float> normal;
  for (const double density : {0.0, 0.05, 0.3, 0.6, 1.0}) {
    const std::int64_t rows = 200, cols = 300;
    std::vector<float> dense(static_cast<std::size_t>(rows * cols));
    for (float& w : dense) w = std::bernoulli_distribution(density)(random) ? normal(random) : 0.0f;
    sparse::CsrMatrix<float> csr = sparse::csr_from_dense(dense.data(), cols, rows, cols);
    const std::int64_t nnz = csr.view().nnz();
    csr.columns.resize(static_cast<std::size_t>(nnz) + 1);  // so that data() is never null
    csr.values.resize(static_cast<std::size_t>(nnz) + 1);
    const CsrPattern pattern{rows,
                             cols,
                             nnz,
                             view(csr.row_start.data(), 1, rows + 1, DType::i32),
                             view(csr.columns.data(), 1, nnz, DType::i32),
                             {},
                             {},
                             {}};
    const auto prepared = backend->prepare_csr(pattern, view(csr.values.data(), 1, nnz, DType::f32));
    ASSERT_EQ(prepared->tuning().size() % std::size(kTunedTokens), 0u);
    ASSERT_FALSE(prepared->tuning().empty());
    for (const std::int64_t tokens : {1, 2, 3, 8, 13, 32, 50, 100, 300}) {
      std::vector<float> x(static_cast<std::size_t>(cols * tokens)), y(static_cast<std::size_t>(rows * tokens)), z(y);
      for (float& v : x) v = normal(random);
      backend->apply(*prepared, view(x.data(), cols, tokens, DType::f32), view(y.data(), rows, tokens, DType::f32), {});
      backend->spmm(pattern, view(csr.values.data(), 1, nnz, DType::f32), view(x.data(), cols, tokens, DType::f32),
                    view(z.data(), rows, tokens, DType::f32));
      const double allowed = tolerance(DType::f32, cols, 25 * 25);
      for (std::size_t i = 0; i < y.size(); ++i) ASSERT_NEAR(y[i], z[i], allowed) << prepared->kernel();
    }
  }
}

}  // namespace
}  // namespace bertx::cpu
