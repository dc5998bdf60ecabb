// Whole layers dropped (Sajjad et al. 2020, 2004.03844): the highest, the lowest, every other from the top, the middle,
// or those whose output is most like their input. The paper drops from a pretrained model and fine-tunes then; half of
// the layers of BERT cost about three points. DistilBERT (1910.01108) begins as layers 0,2,4,7,9,11 of its teacher.
#include "structure/layers.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "bertx/error.h"
#include "bertx/files.h"
#include "calibration/examples.h"
#include "structure/methods.h"
#include "weights/host_copy.h"

namespace bertx::compress {
namespace {

// Each token's dot product, and the squares, of a layer's input and output, all [H, T].
struct Products {
  std::vector<double> dot, in, out;
  Products(std::int64_t tokens) : dot(static_cast<std::size_t>(tokens)), in(dot), out(dot) {}
  double sum_of_cosines() const {
    double sum = 0;
    for (std::size_t t = 0; t < dot.size(); ++t) {
      const double lengths = std::sqrt(in[t] * out[t]);
      sum += lengths > 0 ? dot[t] / lengths : 0.0;
    }
    return sum;
  }
};

double sum_of_cosines(const std::vector<double>& x, const std::vector<double>& y, std::int64_t tokens) {
  Products products(tokens);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t t = i % static_cast<std::size_t>(tokens);
    products.dot[t] += x[i] * y[i];
    products.in[t] += x[i] * x[i];
    products.out[t] += y[i] * y[i];
  }
  return products.sum_of_cosines();
}

// "0,2,4" -> which of so many layers stay.
std::vector<bool> named_layers(const std::string& list, std::int64_t layers) {
  std::vector<bool> keep(static_cast<std::size_t>(layers));
  std::int64_t last = -1;
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t end = std::min(list.find(',', begin), list.size());
    const auto number = parse_int(std::string_view(list).substr(begin, end - begin));
    if (!number || *number <= last || *number >= layers) {
      fail(ErrorKind::usage, "keep_layers: found \"", list, "\", expected numbers from 0 to ", layers - 1,
           " with commas between them, each once and in ascending order, as 0,2,4");
    }
    last = *number;
    keep[static_cast<std::size_t>(last)] = true;
    begin = end + 1;
  }
  return keep;
}

std::int64_t drop_count(const Recipe& recipe, std::int64_t layers) {
  if (layers < 2)
    fail(ErrorKind::usage, "layers: found a model of ", layers, " layer, expected two or more to drop some");
  const std::int64_t drop = recipe.drop.value_or(layers / 2);
  // Every other of an odd number of layers from the top is one more than half of them.
  const std::int64_t most = recipe.which == "alternate" ? std::min(layers - 1, (layers + 1) / 2) : layers - 1;
  if (drop > most) {
    fail(ErrorKind::usage, "drop: found ", drop, " with which ", recipe.which, ", expected at most ", most, " of ",
         layers, " layers");
  }
  return drop;
}

std::vector<bool> dropped_by_cosine(const Recipe& recipe, const std::vector<double>& cosines) {
  const auto layers = static_cast<std::int64_t>(cosines.size());
  std::vector<bool> keep(cosines.size(), true);
  if (recipe.cosine) {
    for (std::size_t l = 0; l < cosines.size(); ++l) keep[l] = cosines[l] <= *recipe.cosine;
    if (std::ranges::find(keep, true) == keep.end()) {
      fail(ErrorKind::usage, "cosine: found ", *recipe.cosine, ", expected at least ",
           *std::ranges::min_element(cosines), ": the outputs of all ", layers, " layers are closer to their inputs");
    }
    return keep;
  }
  std::vector<std::size_t> order(cosines.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return cosines[a] > cosines[b]; });
  for (std::int64_t n = drop_count(recipe, layers); n > 0; --n) keep[order[static_cast<std::size_t>(n - 1)]] = false;
  return keep;
}

std::vector<bool> dropped_by_place(const Recipe& recipe, std::int64_t layers) {
  std::vector<bool> keep(static_cast<std::size_t>(layers), true);
  const std::int64_t drop = drop_count(recipe, layers), left = layers - drop;
  for (std::int64_t n = 0; n < drop; ++n) {
    const std::int64_t gone = recipe.which == "top"         ? left + n
                              : recipe.which == "bottom"    ? n
                              : recipe.which == "alternate" ? layers - 1 - 2 * n
                                                            : (left + 1) / 2 + n;  // symmetric
    keep[static_cast<std::size_t>(gone)] = false;
  }
  return keep;
}

void refuse_beside(bool given, std::string_view option, std::string_view other) {
  if (given) fail(ErrorKind::usage, option, ": found it beside ", other, ", expected one of the two");
}

}  // namespace

std::vector<double> layer_cosines(Backend& backend, const Model& model, const Calibration& calibration,
                                  std::int64_t batch_size) {
  std::vector<double> sums(model.layers.size());
  std::int64_t tokens = 0;
  Arena arena(backend);
  for_batches(model, calibration, batch_size, [&](std::int64_t, const Batch& batch) {
    arena.reset();
    Exec exec{backend, arena};
    std::vector<Tensor> hidden;
    model.encode(exec, batch, nullptr, &hidden);
    std::vector<double> x = downloaded<double>(backend, hidden.front());
    for (std::size_t l = 0; l < sums.size(); ++l) {
      std::vector<double> y = downloaded<double>(backend, hidden[l + 1]);
      sums[l] += sum_of_cosines(x, y, batch.tokens());
      x = std::move(y);
    }
    tokens += batch.tokens();
  });
  for (double& sum : sums) sum /= static_cast<double>(std::max<std::int64_t>(1, tokens));
  return sums;
}

void keep_layers(Backend& backend, Model& model, const std::vector<bool>& keep) {
  std::vector<EncoderLayer> layers;
  std::vector<LayerShape> shapes;
  for (std::size_t l = 0; l < model.layers.size(); ++l) {
    if (!keep[l]) continue;
    layers.push_back(model.layers[l]);
    shapes.push_back(model.config.layers[l]);
  }
  model.layers = std::move(layers);
  model.config.layers = std::move(shapes);
  model.refresh(backend);
}

void layers_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration) {
  const auto layers = static_cast<std::int64_t>(model.layers.size());
  if (!recipe.keep_layers.empty()) {
    refuse_beside(recipe.drop.has_value(), "drop", "keep_layers");
    refuse_beside(recipe.cosine.has_value(), "cosine", "keep_layers");
    return keep_layers(backend, model, named_layers(recipe.keep_layers, layers));
  }
  if (recipe.which != "contribution") {
    if (recipe.cosine) {
      fail(ErrorKind::usage, "cosine: found ", *recipe.cosine, " with which ", recipe.which,
           ", expected which contribution");
    }
    return keep_layers(backend, model, dropped_by_place(recipe, layers));
  }
  if (recipe.cosine) refuse_beside(recipe.drop.has_value(), "drop", "cosine");
  if (calibration.examples.empty()) {
    fail(ErrorKind::usage, "which: found contribution and no texts, expected training data to measure layers on");
  }
  const Calibration used = sample(calibration, recipe);
  keep_layers(backend, model, dropped_by_cosine(recipe, layer_cosines(backend, model, used, recipe.calibration_batch)));
}

}  // namespace bertx::compress
