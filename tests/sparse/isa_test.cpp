// How the instruction set is chosen and forced.
#include "bertx/sparse/isa.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "bertx/error.h"
#include "patterns.h"

namespace bertx::sparse::test {
namespace {

/// Exits with 0 where BERTX_ISA=value gives `expected`, else with the kind of the Error, its text on stderr. It runs
/// in a fresh process, because the variable is read once.
[[noreturn]] void ask(const char* value, Isa expected, bool bf16_dot = false) {
  setenv("BERTX_ISA", value, 1);
  try {
    std::exit(active_isa() == expected && active_bf16_dot() == bf16_dot ? 0 : 1);
  } catch (const Error& error) {
    fputs(error.what(), stderr);
    std::exit(static_cast<int>(error.kind()));
  }
}

class IsaDeathTest : public ::testing::Test {
 protected:
  void SetUp() override { ::testing::FLAGS_gtest_death_test_style = "threadsafe"; }
};

TEST_F(IsaDeathTest, TheEnvironmentNamesASet) {
  EXPECT_EXIT(ask("portable", Isa::portable), ::testing::ExitedWithCode(0), "");
  EXPECT_EXIT(ask("", detected_isa(), detected_bf16_dot()), ::testing::ExitedWithCode(0), "");
}

TEST_F(IsaDeathTest, PlainAvx512LeavesTheBf16InstructionOut) {
  if (detected_isa() < Isa::avx512) GTEST_SKIP() << "this processor lacks avx512";
  EXPECT_EXIT(ask("avx512", Isa::avx512, false), ::testing::ExitedWithCode(0), "");
  if (!detected_bf16_dot()) GTEST_SKIP() << "this processor lacks avx512_bf16";
  EXPECT_EXIT(ask("avx512_bf16", Isa::avx512, true), ::testing::ExitedWithCode(0), "");
}

TEST_F(IsaDeathTest, AnUnknownNameIsAUsageError) {
  EXPECT_EXIT(ask("sse9", Isa::portable), ::testing::ExitedWithCode(static_cast<int>(ErrorKind::usage)),
              "BERTX_ISA is \"sse9\", expected portable, avx2, avx512 or avx512_bf16");
}

TEST(Isa, ASetThatTheProcessorLacksIsAUsageError) {
  if (detected_isa() == Isa::avx512) GTEST_SKIP() << "this processor lacks no set";
  try {
    force_isa(Isa::avx512);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_NE(std::string(error.what()).find("this processor's best is"), std::string::npos);
  }
}

TEST(Isa, ForcingOverridesAndNamesAreThoseOfTheVariable) {
  {
    const ForcedIsa forced(Isa::portable);
    EXPECT_EQ(active_isa(), Isa::portable);
  }
  if (detected_isa() == Isa::avx512) {
    const ForcedIsa forced(Isa::avx512, false);
    EXPECT_FALSE(active_bf16_dot());
    EXPECT_EQ(active_isa_name(), "avx512");
  }
  if (detected_bf16_dot()) {
    const ForcedIsa forced(Isa::avx512);
    EXPECT_TRUE(active_bf16_dot());
    EXPECT_EQ(active_isa_name(), "avx512_bf16");
  }
  EXPECT_EQ(isa_name(Isa::portable), "portable");
  EXPECT_EQ(isa_name(Isa::avx2), "avx2");
  EXPECT_EQ(isa_name(Isa::avx512), "avx512");
}

}  // namespace
}  // namespace bertx::sparse::test
