// Uses installed headers only: makes a model, saves it, loads it back and runs both.
#include <bertx/arena.h>
#include <bertx/backend.h>
#include <bertx/model.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <vector>

namespace {

std::vector<float> logits_of(bertx::Backend& backend, const bertx::Model& model) {
  bertx::Batch batch;
  batch.ids = {2, 7, 8, 3, 2, 9, 3};
  batch.types.assign(batch.ids.size(), 0);
  batch.starts = {0, 4, 7};
  bertx::Arena arena(backend);
  bertx::Exec exec{backend, arena};
  const bertx::Tensor logits = model.forward(exec, batch);
  std::vector<float> host(static_cast<std::size_t>(logits.size()));
  backend.download(logits, bertx::view(host.data(), logits.rows, logits.cols, bertx::DType::f32));
  return host;
}

}  // namespace

int main(int, char** argv) {
  const auto backend = bertx::make_backend("cpu");
  bertx::Config config = bertx::make_config(2, 32, 4, 64, 20, 16);
  config.head = bertx::HeadKind::sequence_classification;
  config.labels = {"no", "yes"};
  bertx::Model model = bertx::make_model(*backend, config, 1);
  const std::filesystem::path directory = argv[1];
  std::filesystem::create_directories(directory);
  bertx::save_model(*backend, model, directory, bertx::ExportForm::native);

  const std::vector<float> before = logits_of(*backend, model);
  const std::vector<float> after = logits_of(*backend, bertx::load_model(*backend, directory));
  if (before.size() != 4 || before != after) return 1;
  for (const float x : before) {
    if (!std::isfinite(x)) return 2;
  }
  std::printf("logits %g %g\n", before[0], before[1]);
  return 0;
}
