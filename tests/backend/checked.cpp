// The checked backend itself: what it reports, what it lets pass, and that it returns what the fast backend computed.
#include <thread>

#include "bertx/error.h"
#include "planted.h"
#include "scenarios.h"

namespace bertx::test {
namespace {

TEST(Checked, NamesTheOperationTheElementAndBothValues) {
  auto wrong = std::make_unique<Planted>(make_reference_backend(), "add: Y");
  const auto backend = make_checked_backend(std::move(wrong), make_reference_backend());
  const Storage x = make_matrix(*backend, 2, 3, {1, 1, 1, 1, 1, 1}),
                y = make_matrix(*backend, 2, 3, {0, 0, 0, 0, 99, 0});
  try {
    backend->add(x.tensor, y.tensor);
    FAIL() << "not noticed";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::numeric);
    for (const char* part : {"add", "Y [1, 1] of [2, 3]", "gives 102", "gives 100"}) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  }
}

TEST(Checked, ReturnsTheResultsOfTheFastBackend) {
  const auto backend = make_checked_backend(make_backend("cpu"), make_reference_backend());
  EXPECT_EQ(backend->name(), "cpu");
  EXPECT_EQ(backend->real(), make_backend("cpu")->real());
  Scene s(*backend, 1, 10);
  const Tensor x = s.matrix(9, 20), gamma = s.vector(9), beta = s.vector(9);
  const Tensor checked = s.output(9, 20), plain = s.output(9, 20), mean = s.output(1, 20), rstd = s.output(1, 20);
  backend->layer_norm(x, gamma, beta, 1e-12, checked, mean, rstd);
  make_backend("cpu")->layer_norm(x, gamma, beta, 1e-12, plain, mean, rstd);
  EXPECT_EQ(values_of(*backend, checked), values_of(*backend, plain));
  const Tensor tensors[] = {x};
  EXPECT_EQ(backend->sum_of_squares(tensors), make_backend("cpu")->sum_of_squares(tensors));
}

// What is no number in both is left to the trainer to report.
TEST(Checked, NotANumberInBothPasses) {
  const auto backend = make_checked_backend(make_reference_backend(), make_reference_backend());
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Storage x = make_matrix(*backend, 1, 2, {nan, 1}), y = make_matrix(*backend, 1, 2, {1, 1});
  EXPECT_NO_THROW(backend->add(x.tensor, y.tensor));
  EXPECT_TRUE(std::isnan(values_of(*backend, y.tensor)[0]));
}

TEST(Checked, TheOracleIsInDoubleOnTheHost) {
  try {
    make_checked_backend(make_reference_backend(), make_backend("cpu"));
    FAIL() << "made";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_NE(std::string(error.what()).find("cpu"), std::string::npos);
  }
}

class Threads : public SubjectTest {};

// One backend, four threads, each with operands of its own.
TEST_P(Threads, MayShareABackend) {
  const auto backend = make_checked();
  std::vector<std::thread> threads;
  std::string messages[4];
  for (std::uint64_t thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      for (const Scenario& scenario : scenarios()) {
        try {
          Scene scene(*backend, 100 + thread, 48);
          scenario.run(scene);
        } catch (const std::exception& error) {
          messages[thread] += std::string(error.what()) + "\n";
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& message : messages) EXPECT_EQ(message, "");
}

INSTANTIATE_TEST_SUITE_P(Backends, Threads, testing::ValuesIn(subjects()), subject_name);

}  // namespace
}  // namespace bertx::test
