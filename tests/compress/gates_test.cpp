// The gradients of gates on heads and neurons: against those of weights, against central differences, against PyTorch.
#include "calibration/gates.h"

#include <cmath>

#include "structure_fixture.h"

namespace bertx::compress {
namespace {

using Gradients = std::vector<std::vector<double>>;  // [layer][gate · examples + example]

Gradients gates_of(Backend& backend, Model& model, const Calibration& texts, bool heads, std::int64_t batch,
                   bool per_token = false) {
  Gradients out;
  for (const EncoderLayer& layer : model.layers) {
    out.emplace_back((heads ? static_cast<std::size_t>(layer.shape.heads) : static_cast<std::size_t>(layer.shape.ffn)) *
                     texts.examples.size());
  }
  const GatesSeen seen = [&](const GateGradients& g) {
    const std::size_t gates = g.values.size() / static_cast<std::size_t>(g.segments);
    for (std::size_t gate = 0; gate < gates && !per_token; ++gate) {
      for (std::size_t b = 0; b < static_cast<std::size_t>(g.segments); ++b) {
        out[g.layer][gate * texts.examples.size() + static_cast<std::size_t>(g.first) + b] =
            g.values[gate * static_cast<std::size_t>(g.segments) + b];
      }
    }
    if (per_token) out[g.layer].assign(g.values.begin(), g.values.end());
  };
  run_gates(backend, model, texts, batch, per_token, heads ? seen : nullptr, heads ? nullptr : seen);
  return out;
}

// The sum of the examples' losses.
double loss_of(Backend& backend, const Model& model, const Calibration& texts) {
  double sum = 0;
  Arena arena(backend);
  for_batches(model, texts, 1, [&](std::int64_t, const Batch& batch) {
    arena.reset();
    Exec exec{backend, arena};
    sum += model.loss(exec, batch, model.forward(exec, batch));
  });
  return sum;
}

// A gate is a factor on the columns of the matrix that reads the part.
double gated_loss(Backend& backend, const Model& model, const Calibration& texts, std::size_t layer, bool heads,
                  std::int64_t gate, double factor) {
  Model changed = model;
  Linear& map = heads ? changed.layers[layer].attention_output : changed.layers[layer].ffn_out;
  auto w = std::make_shared<Parameter>();
  w->value = make_storage(backend, map.weight->out(), map.weight->in(), DType::f64);
  map.weight->materialize(backend, w->tensor());
  const std::int64_t block = heads ? 4 : 1;
  for (std::int64_t i = 0; i < w->tensor().rows; ++i) {
    for (std::int64_t d = 0; d < block; ++d)
      w->tensor().as<double>()[i * w->tensor().cols + gate * block + d] *= factor;
  }
  map.weight = std::make_shared<DenseWeight>(w);
  changed.refresh(backend);
  return loss_of(backend, changed, texts);
}

class GateKind : public testing::TestWithParam<std::string> {};

// All kinds of weights: the probe stands outside of them.
TEST_P(GateKind, GradientsAreCentralDifferencesOfTheLoss) {
  const auto backend = make_reference_backend();
  Model model = classifier(*backend, 2, GetParam());
  const std::vector<EncodedExample> examples = labelled_texts(5);
  const Calibration texts{examples, LabelKind::single_label};
  for (const bool heads : {true, false}) {
    const Gradients found = gates_of(*backend, model, texts, heads, 3);
    double largest = 0;
    for (std::size_t l = 0; l < 2; ++l) {
      for (std::size_t gate = 0; gate < found[l].size() / 5; ++gate) {
        double sum = 0;
        for (std::size_t b = 0; b < 5; ++b) sum += found[l][gate * 5 + b];
        const auto loss = [&](double factor) {
          return gated_loss(*backend, model, texts, l, heads, static_cast<std::int64_t>(gate), factor);
        };
        const double numeric = (loss(1 + 1e-5) - loss(1 - 1e-5)) / 2e-5;
        EXPECT_NEAR(sum, numeric, 1e-7 * std::max(1.0, std::abs(numeric))) << heads << " " << l << " " << gate;
        EXPECT_GT(std::abs(1.01 * sum - numeric), 1e-7 * std::abs(numeric));  // an error of 1 % would be found
        largest = std::max(largest, std::abs(sum));
      }
    }
    EXPECT_GT(largest, 1e-3) << "MISTRUSTED";
  }
}
INSTANTIATE_TEST_SUITE_P(Kinds, GateKind, testing::Values("dense", "masked", "csr", "low_rank", "sum", "shared"),
                         [](const auto& test) { return test.param; });

// dL/dξ_h = ⟨W_O[:, h], dW_O[:, h]⟩ and dL/dξ_j = ⟨W_2[:, j], dW_2[:, j]⟩.
TEST(Gates, GradientsAreThoseOfTheWeightsThatReadTheParts) {
  const auto backend = make_reference_backend();
  Model model = classifier(*backend);
  const std::vector<EncodedExample> examples = labelled_texts(6);
  const Calibration texts{examples, LabelKind::single_label};
  const Gradients heads = gates_of(*backend, model, texts, true, 4),
                  neurons = gates_of(*backend, model, texts, false, 4);
  model.zero_gradients(*backend);
  run_backward(*backend, model, texts, 6, nullptr, nullptr, nullptr);
  for (std::size_t l = 0; l < 2; ++l) {
    for (const auto& [map, gates, block] :
         {std::tuple{&model.layers[l].attention_output, &heads[l], 4}, {&model.layers[l].ffn_out, &neurons[l], 1}}) {
      const Parameter& w = *static_cast<DenseWeight&>(*map->weight).parameter();
      const std::int64_t cols = w.tensor().cols;
      for (std::int64_t gate = 0; gate < cols / block; ++gate) {
        double by_weight = 0, by_gate = 0;
        for (std::int64_t i = 0; i < 12; ++i) {
          for (std::int64_t d = 0; d < block; ++d) {
            const std::int64_t at = i * cols + gate * block + d;
            by_weight += w.tensor().as<double>()[at] * w.gradient().as<double>()[at];
          }
        }
        for (std::size_t b = 0; b < 6; ++b) by_gate += (*gates)[static_cast<std::size_t>(gate) * 6 + b];
        EXPECT_NE(by_weight, 0.0);
        EXPECT_NEAR(by_gate, by_weight, 1e-12 * std::max(1.0, std::abs(by_weight)));
      }
    }
  }
}

TEST(Gates, BatchSizeAndBackendDoNotMatter) {
  const auto reference = make_reference_backend(), cpu = make_cpu_backend();
  Model model = classifier(*reference), fast = classifier(*cpu);
  const std::vector<EncodedExample> examples = labelled_texts(7);
  const Calibration texts{examples, LabelKind::single_label};
  fast.prepare(*cpu);  // packed weights are unpacked again
  for (const bool heads : {true, false}) {
    const Gradients one = gates_of(*reference, model, texts, heads, 1),
                    all = gates_of(*reference, model, texts, heads, 7), of_cpu = gates_of(*cpu, fast, texts, heads, 3);
    for (std::size_t l = 0; l < 2; ++l) {
      ASSERT_TRUE(test::trusted(one[l]));
      for (std::size_t i = 0; i < one[l].size(); ++i) {
        EXPECT_NEAR(all[l][i], one[l][i], 1e-12);
        EXPECT_NEAR(of_cpu[l][i], one[l][i], 1e-3 * std::max(1.0, std::abs(one[l][i])));
      }
    }
  }
}

TEST(Gates, ImportancePerExampleTokenAndBatchIsTheMeanOfAbsoluteGradients) {
  const auto backend = make_reference_backend();
  Model model = classifier(*backend);
  const std::vector<EncodedExample> examples = labelled_texts(6);
  const Calibration texts{examples, LabelKind::single_label};
  std::size_t tokens = 0;
  for (const EncodedExample& example : examples) tokens += example.ids.size();
  for (const bool heads : {true, false}) {
    const auto by = [&](Per per) {
      return heads ? head_importance(*backend, model, texts, 6, per)
                   : neuron_importance(*backend, model, texts, 6, per);
    };
    const auto example = by(Per::example), token = by(Per::token), batch = by(Per::batch);
    const Gradients gates = gates_of(*backend, model, texts, heads, 6);
    const Gradients each = gates_of(*backend, model, texts, heads, 6, true);
    for (std::size_t l = 0; l < 2; ++l) {
      const std::size_t per_gate = each[l].size() / example[l].size();
      EXPECT_EQ(per_gate, !heads && l == 1 ? 6 : tokens);  // of the last layer a classifier reads first tokens only
      for (std::size_t gate = 0; gate < example[l].size(); ++gate) {
        double sum = 0, absolute = 0, of_tokens = 0;
        for (std::size_t b = 0; b < 6; ++b) sum += gates[l][gate * 6 + b], absolute += std::abs(gates[l][gate * 6 + b]);
        for (std::size_t t = 0; t < per_gate; ++t) of_tokens += std::abs(each[l][gate * per_gate + t]);
        EXPECT_NEAR(example[l][gate], absolute / 6, 1e-13);
        EXPECT_NEAR(batch[l][gate], std::abs(sum) / 6, 1e-13);
        EXPECT_NEAR(token[l][gate], of_tokens / static_cast<double>(tokens), 1e-13);
        EXPECT_LE(batch[l][gate], example[l][gate] + 1e-13);
      }
    }
  }
}

// gate_grad [5 examples, 3 layers, 4 heads]
TEST(Gates, GoldenGradientsOfEachExample) {
  BERTX_SKIP_WITHOUT_SHARED("golden/tiny/classification");
  const auto directory = *test::shared_path("golden/tiny/classification");
  const auto backend = make_reference_backend();
  const SafetensorsFile heads = SafetensorsFile::open(directory / "heads.safetensors");
  const std::vector<EncodedExample> examples = golden_texts(directory);
  Model model = load_model(*backend, directory);
  const Gradients found = gates_of(*backend, model, {examples, LabelKind::single_label}, true, 2);
  const auto* want = static_cast<const double*>(heads.find("gate_grad")->data);
  for (std::size_t b = 0; b < 5; ++b) {
    for (std::size_t l = 0; l < 3; ++l) {
      for (std::size_t h = 0; h < 4; ++h) EXPECT_NEAR(found[l][h * 5 + b], want[(b * 3 + l) * 4 + h], 1e-10);
    }
  }
}

}  // namespace
}  // namespace bertx::compress
