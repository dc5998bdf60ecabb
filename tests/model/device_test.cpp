// Whole models on the cuda backend, every operation of which is compared with the reference backend as it is called.
#include "bertx/train.h"
#include "cuda.h"
#include "tiny.h"

namespace bertx::test {
namespace {

constexpr const char* kKinds[] = {"masked", "csr",        "low_rank", "low_rank_csr", "sum",
                                  "shared", "shared_sum", "no_heads", "few_heads",    "few_neurons",
                                  "tucker", "embedding",  "gated",    "block_masked"};  // of tiny.h

class DeviceModel : public CudaTest {
 protected:
  /// Forward with dropout, loss, backward; returns the gradients' squared norm.
  static double step(Backend& backend, Model& model, const Batch& batch) {
    make_gradients(backend, model);
    Arena arena(backend);
    Exec exec{backend, arena, true, 77};
    Model::Saved saved;
    const Tensor logits = model.forward(exec, batch, &saved), dlogits = exec.take(logits.rows, logits.cols);
    EXPECT_TRUE(std::isfinite(model.loss(exec, batch, logits, 1, dlogits)));
    model.backward(exec, batch, saved, dlogits);
    std::vector<Tensor> gradients;
    model.visit([&](const std::string&, Parameter& p) {
      if (!p.gradient().empty()) gradients.push_back(p.gradient());
    });
    return backend.sum_of_squares(gradients);
  }
  static void make_gradients(Backend& backend, Model& model) {
    model.visit([&](const std::string&, Parameter& p) {
      p.grad = make_storage(backend, p.tensor().rows, p.tensor().cols, backend.real());
    });
  }
};

TEST_F(DeviceModel, EveryHeadAgreesWithTheReference) {
  for (const BackendOptions options : {BackendOptions{}, BackendOptions{DType::bf16}}) {
    const auto backend = make_checked_backend(make_cuda(options), make_reference_backend());
    for (const TinyHead& head : tiny_heads()) {
      SCOPED_TRACE(head.name);
      Model model = make_model(*backend, tiny_config(head), 7);
      randomise_vectors(*backend, model, 8);
      EXPECT_GT(step(*backend, model, tiny_batch(model, 9)), 0);
    }
  }
}

TEST_F(DeviceModel, EveryRepresentationAgreesWithTheReference) {
  const auto backend = make_checked_backend(make_cuda(), make_reference_backend());
  for (const char* kind : kKinds) {
    SCOPED_TRACE(kind);
    Model model = make_model(*backend, tiny_config(tiny_heads().front()), 7);
    represent(*backend, model, kind, 5);
    const Batch batch = tiny_batch(model, 9);
    EXPECT_GT(step(*backend, model, batch), 0);
    const std::vector<double> before = logits_of(*backend, model, batch);
    EXPECT_TRUE(trusted(before));
    model.prepare(*backend);
    EXPECT_TRUE(all_near(logits_of(*backend, model, batch), before, DType::f32, 1000, 100));
  }
}

TEST_F(DeviceModel, IsWrittenAndReadAgain) {
  const auto backend = make_cuda();
  const TemporaryDirectory directory;
  for (const char* kind : kKinds) {
    Model model = make_model(*backend, tiny_config(tiny_heads().front()), 7);
    represent(*backend, model, kind, 5);
    std::filesystem::create_directory(directory / kind);
    save_model(*backend, model, directory / kind, ExportForm::native);
    const Model loaded = load_model(*backend, directory / kind);
    const Batch batch = tiny_batch(model, 9);
    EXPECT_TRUE(all_near(logits_of(*backend, loaded, batch), logits_of(*backend, model, batch), DType::f32, 1000, 10));
  }
}

}  // namespace
}  // namespace bertx::test
