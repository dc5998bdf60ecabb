// What sharing saves: parameters, gradients, moments, bytes in files and packed weights.
#include <set>

#include "bertx/safetensors.h"
#include "bertx/sum_weight.h"
#include "sharing_fixture.h"

namespace bertx::compress {
namespace {

using test::logits_of;

// ---- size -----------------------------------------------------------------------------------------------------------

TEST(Sharing, ParametersMomentsMemoryAndFilesFallByWhatIsShared) {
  const auto backend = make_backend("cpu");
  EncodedExample example;
  example.ids = {1, 2, 3, 4}, example.types = {0, 0, 0, 0}, example.label = 1;
  const std::vector<EncodedExample> examples(3, example);
  const auto plan = [&](Model& model) { return plan_memory(*backend, model, examples, LabelKind::single_label, {}); };
  const auto stored = [&](Model& model) {
    test::TemporaryDirectory directory;
    save_model(*backend, model, directory.path(), ExportForm::native);
    const SafetensorsFile file = SafetensorsFile::open(directory / "model.safetensors");
    std::size_t bytes = 0;
    for (const TensorEntry& entry : file.entries()) bytes += entry.bytes;
    return bytes;
  };
  Model whole = deep_model(*backend);
  const TrainMemory before = plan(whole);
  const std::int64_t attention = 4 * (12 * 12 + 12) + 2 * 12, ffn = 12 * 10 + 10 + 10 * 12 + 12 + 2 * 12;
  for (const auto& [share, block] :
       {std::pair<std::string, std::int64_t>{"all", attention + ffn}, {"attention", attention}, {"ffn", ffn}}) {
    for (const std::int64_t groups : {1, 3}) {
      Model model = deep_model(*backend);
      compress_now(*backend, model, sharing(groups, share));
      const std::int64_t saved = (6 - groups) * block;
      const auto bytes = static_cast<std::size_t>(4 * saved);
      EXPECT_EQ(model.parameter_count(), whole.parameter_count() - saved);
      const TrainMemory after = plan(model);
      EXPECT_EQ(after.weights, before.weights - bytes);
      EXPECT_EQ(after.gradients, before.gradients - bytes);
      EXPECT_EQ(after.moments, before.moments - 2 * bytes);
      EXPECT_EQ(after.activations, before.activations);
      EXPECT_EQ(stored(model), stored(whole) - bytes);
      std::int64_t multiplies = 0, whole_multiplies = 0;
      model.visit_linears([&](const std::string&, Linear& l) { multiplies += l.weight->multiplies(); });
      whole.visit_linears([&](const std::string&, Linear& l) { whole_multiplies += l.weight->multiplies(); });
      EXPECT_EQ(multiplies, whole_multiplies);
    }
  }
}

TEST(Sharing, PreparedWeightsAreShared) {
  const auto backend = make_backend("cpu");
  for (const std::int64_t repair_rank : {0, 2}) {
    Model model = deep_model(*backend);
    compress_now(*backend, model,
                 {.method = "magnitude", .sparsity = 0.9});  // dense ones of this size stay as they are
    compress_now(*backend, model, sharing(2, "all", "average", repair_rank));
    const Batch batch = test::tiny_batch(model, 5);
    const std::vector<double> before = logits_of(*backend, model, batch);
    model.prepare(*backend);
    std::set<const PreparedWeight*> stacks, products;
    for (const EncoderLayer& layer : model.layers) {
      if (layer.stacked) stacks.insert(layer.stacked->weight.get());
      const LinearWeight* weight = layer.ffn_in.weight.get();
      if (repair_rank > 0) weight = dynamic_cast<const SumWeight&>(*weight).first().get();
      products.insert(weight->prepared());
    }
    EXPECT_EQ(stacks.size(), repair_rank > 0 ? 0u : 2u);
    EXPECT_EQ(products.size(), 2u);
    EXPECT_FALSE(products.contains(nullptr));
    EXPECT_LT(largest_difference(logits_of(*backend, model, batch), before), 1e-4);
  }
}

TEST(Sharing, FilesAndExportsHaveTheLogits) {
  const auto backend = make_reference_backend();
  for (const std::int64_t repair_rank : {0, 3}) {
    Model model = deep_model(*backend);
    const Batch batch = test::tiny_batch(model, 5);
    compress_now(*backend, model, sharing(2, "all", "average", repair_rank));
    const std::vector<double> want = logits_of(*backend, model, batch);
    for (const ExportForm form : {ExportForm::native, ExportForm::dense}) {
      test::TemporaryDirectory directory;
      save_model(*backend, model, directory.path(), form);
      Model again = load_model(*backend, directory.path());
      EXPECT_LT(largest_difference(logits_of(*backend, again, batch), want), 1e-5);  // numbers were rounded to F32
      EXPECT_EQ(again.parameter_count(),
                form == ExportForm::native ? model.parameter_count() : deep_model(*backend).parameter_count());
    }
  }
}

}  // namespace
}  // namespace bertx::compress
