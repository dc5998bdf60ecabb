// Every operation of every backend against the reference backend, over random shapes; and the proof that a wrong
// output would be noticed.
#include "bertx/error.h"
#include "planted.h"
#include "scenarios.h"

namespace bertx::test {
namespace {

constexpr std::uint64_t kRuns = 24;
constexpr std::int64_t kLargest = 300, kLargestPlanted = 40;

class Operations : public SubjectTest {};

TEST_P(Operations, AgreeWithTheReference) {
  const auto backend = make_checked();
  for (const Scenario& scenario : scenarios()) {
    for (std::uint64_t seed = 0; seed < kRuns; ++seed) {
      SCOPED_TRACE(std::string(scenario.operation) + ", seed " + std::to_string(seed));
      Scene scene(*backend, seed, seed % 3 == 0 ? kLargest : 64);
      try {
        scenario.run(scene);
      } catch (const Error& error) {
        ADD_FAILURE() << error.what();
      }
    }
  }
}

TEST_P(Operations, AWrongOutputIsNoticed) {
  for (const Scenario& scenario : scenarios()) {
    for (const char* output : scenario.outputs) {
      const std::string planted = std::string(scenario.operation) + ": " + output;
      SCOPED_TRACE(planted);
      int planted_once = 0;
      bool prepared = true;
      for (std::uint64_t seed = 0; seed < 8; ++seed) {
        int hits = 0;
        auto wrong = std::make_unique<Planted>(make(), planted, &hits);
        const auto backend = make_checked_backend(std::move(wrong), make_reference_backend());
        Scene scene(*backend, seed, kLargestPlanted);
        std::string message;
        try {
          scenario.run(scene);
        } catch (const Error& error) {
          EXPECT_EQ(error.kind(), ErrorKind::numeric);
          message = error.what();
        }
        EXPECT_EQ(hits > 0, message.find(planted) != std::string::npos) << "seed " << seed << ": \"" << message << '"';
        planted_once += hits;
        prepared = planted.rfind("apply", 0) != 0 || backend->prepare_dense(scene.matrix(4, 4)) != nullptr;
      }
      EXPECT_TRUE(planted_once > 0 || !prepared);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, Operations, testing::ValuesIn(subjects()), subject_name);

}  // namespace
}  // namespace bertx::test
