// Zeros spread over matrices by what the loss says of each alone.
#include "pruning/sensitivity.h"

#include "training_fixture.h"

namespace bertx::compress {
namespace {

const RankMasks by_magnitude = [](Backend& backend, Model& model, double sparsity, const Selection& how,
                                  const Recipe&) { rank_masks(backend, model, sparsity, how, Key::magnitude); };

double mean_loss(Backend& backend, const Model& model, const std::vector<EncodedExample>& examples) {
  Arena arena(backend);
  double sum = 0;
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(examples.size()); ++i) {
    const Batch batch = collate(examples, {&i, 1}, LabelKind::single_label, 3);
    Exec exec{backend, arena};
    sum += model.loss(exec, batch, model.forward(exec, batch));
  }
  return sum / static_cast<double>(examples.size());
}

TEST(Sensitivity, IsTheRiseOfTheLossWithOneMatrixPrunedByHand) {
  const auto backend = make_reference_backend();
  const std::vector<EncodedExample> examples = tiny_examples(11);
  Model model = tiny_model(*backend);
  mask_weights(*backend, model, false);
  const std::vector<MaskedMatrix> matrices = masked_matrices(model);
  matrices.back().weight->mask().tensor.as<std::uint8_t>()[7] = 0;  // masks that were there stay
  model.refresh(*backend);
  const std::vector<double> before = weights_of(*backend, model);
  const double dense = mean_loss(*backend, model, examples);
  const std::vector<Sensitivity> found = measure_sensitivities(*backend, model, {.calibration_batch = 4},
                                                               {examples, LabelKind::single_label}, by_magnitude);
  EXPECT_EQ(weights_of(*backend, model), before);
  ASSERT_EQ(found.size(), 12u);

  for (const std::size_t n : {0, 4, 11}) {
    ASSERT_EQ(found[n].size(), 7u);
    EXPECT_EQ(found[n][0].loss, 0.0);
    for (const std::size_t point : {2, 5, 6}) {
      MaskedWeight& weight = *matrices[n].weight;
      const std::int64_t size = weight.out() * weight.in();
      const Storage kept = make_storage(*backend, weight.out(), weight.in(), DType::u8);
      backend->copy(weight.mask().tensor, kept.tensor);
      const double* w = weight.parameter()->tensor().as<double>();
      std::vector<std::int64_t> order(static_cast<std::size_t>(size));
      for (std::int64_t i = 0; i < size; ++i) order[static_cast<std::size_t>(i)] = i;
      std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return std::abs(w[a]) > std::abs(w[b]); });
      for (std::int64_t i = 0; i < size; ++i) {
        weight.mask().tensor.as<std::uint8_t>()[order[static_cast<std::size_t>(i)]] =
            i < kept_of(size, found[n][point].sparsity);
      }
      weight.refresh(*backend);
      EXPECT_NEAR(found[n][point].loss, mean_loss(*backend, model, examples) - dense, 1e-10) << n << " " << point;
      backend->copy(kept.tensor, weight.mask().tensor);
      weight.refresh(*backend);
    }
    EXPECT_NE(found[n][6].loss, 0.0);
  }
}

TEST(Sensitivity, AModelHasTheTotalThatWasAskedForAndMatricesThatMatterKeepMore) {
  const std::vector<EncodedExample> examples = tiny_examples(20);
  const Calibration calibration{examples, LabelKind::single_label};
  const auto backend = make_backend("cpu");
  for (const char* method : {"magnitude", "random"}) {
    Model model = tiny_model(*backend), uniform = tiny_model(*backend);
    compress_now(*backend, model, {.method = method, .sparsity = 0.6, .distribution = "sensitivity"}, calibration);
    compress_now(*backend, uniform, {.method = method, .sparsity = 0.6}, calibration);
    const Report found = report(*backend, model);
    EXPECT_EQ(found.encoder_nonzeros, kept_of(found.encoder_elements, 0.6)) << method;
    std::set<double> shares;
    for (const MatrixReport& matrix : found.matrices) shares.insert(matrix.sparsity());
    EXPECT_GT(shares.size(), 2u) << method;
  }
}

TEST(Sensitivity, IsMeasuredOnceInATrainingThatResumesBitForBit) {
  const std::vector<EncodedExample> examples = tiny_examples(30);
  for (const char* method : {"magnitude", "iterative_magnitude", "random"}) {
    Recipe recipe{.method = method, .sparsity = 0.7, .distribution = "sensitivity", .mask_interval = 2};
    recipe.calibration_samples = 12;
    expect_resumes(recipe, examples, {5});
  }
}

TEST(Sensitivity, NonsenseIsRefused) {
  for (const char* method : {"movement", "wanda", "sparsegpt"}) {
    EXPECT_NE(usage_message([&] {
                check({.method = method, .distribution = "sensitivity"});
              }).find("the methods that measure it are magnitude, iterative_magnitude, random"),
              std::string::npos);
  }
  const auto backend = make_reference_backend();
  Model model = tiny_model(*backend);
  const Recipe recipe{.distribution = "sensitivity"};
  EXPECT_NE(usage_message([&] { compress_now(*backend, model, recipe); }).find("found no labelled examples"),
            std::string::npos);
  EXPECT_NE(usage_message([&] { make_compressor(recipe); }).find("found no labelled examples"), std::string::npos);
  EXPECT_EQ(model.layers[0].query.weight->kind(), "dense");

  MeasuredSelection selection(recipe, {});
  for (const char* state : {"{}", "[]", "{\"sensitivities\": [[1, 2]]}", "{\"sensitivities\": [[1,2,3,4,5,\"x\"]]}"}) {
    EXPECT_THROW(selection.load(state), Error) << state;
  }
}

}  // namespace
}  // namespace bertx::compress
