// Operations that a backend puts down once and runs again: what they do with other numbers in the same places.
#include <stdexcept>

#include "scene.h"

namespace bertx::test {
namespace {

class Recordings : public SubjectTest {};

TEST_P(Recordings, DoTheSameWithWhatThenLiesInTheirMemory) {
  for (const BackendOptions options : {BackendOptions{}, BackendOptions{DType::bf16}}) {
    if (options.products == DType::bf16 && GetParam().backend == "reference") continue;
    const auto backend = make_subject(GetParam().backend, options);
    Scene s(*backend, 21, 40);
    const Tensor w = s.matrix(24, 40), bias = s.vector(24), x = s.matrix(40, 13), y = s.zeros(24, 13);
    const Tensor gamma = s.vector(24), beta = s.vector(24), mean = s.zeros(1, 13), rstd = s.zeros(1, 13),
                 z = s.zeros(24, 13);
    const auto operations = [&] {
      backend->gemm(Trans::no, Trans::no, w, x, y, Write::overwrite);
      backend->bias_activation(y, bias, Activation::gelu_erf, y);
      backend->layer_norm(y, gamma, beta, 1e-5, z, mean, rstd);
    };
    operations();
    const std::vector<double> first = values_of(*backend, z);
    const std::unique_ptr<Recording> recording = backend->record(operations);
    ASSERT_EQ(recording != nullptr, GetParam().backend == kCudaSubject);
    if (!recording) return;
    backend->copy(s.matrix(40, 13), x);  // other numbers
    backend->fill(z, 7);
    EXPECT_EQ(values_of(*backend, z), std::vector<double>(24 * 13, 7.0)) << "recording has done something";
    recording->run();
    const std::vector<double> second = values_of(*backend, z);
    EXPECT_NE(second, first);
    operations();
    EXPECT_EQ(values_of(*backend, z), second);
    for (int i = 0; i < 3; ++i) recording->run();
    EXPECT_EQ(values_of(*backend, z), second);
  }
}

TEST_P(Recordings, LeaveTheBackendAsItWasWhenTheirOperationsFail) {
  const auto backend = make();
  Scene s(*backend, 22, 40);
  const Tensor x = s.matrix(5, 6), y = s.zeros(5, 6);
  const std::vector<double> expected = values_of(*backend, x);
  const auto operations = [&] {
    backend->add(x, y);
    throw std::runtime_error("planted");
  };
  if (GetParam().backend != kCudaSubject) {
    EXPECT_EQ(backend->record(operations), nullptr);
  } else {
    EXPECT_THROW(backend->record(operations), std::runtime_error);
  }
  EXPECT_EQ(values_of(*backend, y), std::vector<double>(30, 0.0));
  backend->add(x, y);
  EXPECT_EQ(values_of(*backend, y), expected);
}

INSTANTIATE_TEST_SUITE_P(Backends, Recordings, testing::ValuesIn(subjects()), subject_name);

}  // namespace
}  // namespace bertx::test
