#include "structure/cut.h"

#include <algorithm>

#include "bertx/compress.h"
#include "bertx/error.h"
#include "bertx/sum_weight.h"
#include "weights/host_copy.h"

namespace bertx::compress {
namespace {

std::int64_t count(const Kept& kept) { return static_cast<std::int64_t>(kept.size()); }

// The rows or columns `kept` of a matrix on the host.
template <class T>
std::vector<T> part_of(const std::vector<T>& whole, std::int64_t rows, std::int64_t cols, Side side, const Kept& kept) {
  std::vector<T> part;
  part.reserve(kept.size() * static_cast<std::size_t>(side == Side::rows ? cols : rows));
  if (side == Side::rows) {
    for (const std::int64_t row : kept)
      part.insert(part.end(), whole.data() + row * cols, whole.data() + (row + 1) * cols);
  } else {
    for (std::int64_t row = 0; row < rows; ++row) {
      for (const std::int64_t column : kept) part.push_back(whole[static_cast<std::size_t>(row * cols + column)]);
    }
  }
  return part;
}

// Through T: exact for double and every real type that it holds, and cutting is no inner loop.
template <class T>
Storage part_of(Backend& backend, Tensor whole, Side side, const Kept& kept) {
  const std::int64_t rows = side == Side::rows ? count(kept) : whole.rows;
  const std::int64_t cols = side == Side::rows ? whole.cols : count(kept);
  const Storage part = make_storage(backend, rows, cols, whole.dtype);
  std::vector<T> host = part_of(downloaded<T>(backend, whole), whole.rows, whole.cols, side, kept);
  if (!host.empty()) backend.upload(view(host.data(), rows, cols, dtype_of<T>), part.tensor);
  return part;
}

// The pattern is cut with its values: a stored 0 stays stored.
std::shared_ptr<LinearWeight> part_of_csr(Backend& backend, const CsrWeight& weight, Side side, const Kept& kept) {
  const auto row_start = downloaded<std::int32_t>(backend, weight.pattern().row_start);
  const auto columns = downloaded<std::int32_t>(backend, weight.pattern().columns);
  const auto values = downloaded<double>(backend, weight.values().tensor());
  std::vector<std::int32_t> place(static_cast<std::size_t>(weight.in()), side == Side::rows ? 0 : -1);
  for (std::size_t n = 0; n < place.size() && side == Side::rows; ++n) place[n] = static_cast<std::int32_t>(n);
  for (std::size_t n = 0; n < kept.size() && side == Side::columns; ++n) {
    place[static_cast<std::size_t>(kept[n])] = static_cast<std::int32_t>(n);
  }

  std::vector<std::int32_t> part_start{0}, part_columns;
  std::vector<double> part_values;
  const std::int64_t rows = side == Side::rows ? count(kept) : weight.out();
  for (std::int64_t row = 0; row < rows; ++row) {
    const auto from = static_cast<std::size_t>(side == Side::rows ? kept[static_cast<std::size_t>(row)] : row);
    for (auto at = static_cast<std::size_t>(row_start[from]); at < static_cast<std::size_t>(row_start[from + 1]);
         ++at) {
      const std::int32_t column = place[static_cast<std::size_t>(columns[at])];
      if (column < 0) continue;
      part_columns.push_back(column);
      part_values.push_back(values[at]);
    }
    part_start.push_back(static_cast<std::int32_t>(part_columns.size()));
  }
  return std::make_shared<CsrWeight>(rows, side == Side::rows ? weight.in() : count(kept), stored(backend, part_start),
                                     stored(backend, part_columns),
                                     parameter_like(weight.values(), stored(backend, part_values, backend.real())));
}

}  // namespace

std::shared_ptr<Parameter> parameter_like(const Parameter& other, Storage value) {
  auto parameter = std::make_shared<Parameter>();
  parameter->value = std::move(value);
  parameter->decay = other.decay;
  parameter->frozen = other.frozen;
  parameter->learning_rate_factor = other.learning_rate_factor;
  return parameter;
}

Kept kept_of(const std::vector<bool>& blocks, std::int64_t block) {
  Kept kept;
  for (std::size_t n = 0; n < blocks.size(); ++n) {
    for (std::int64_t i = 0; i < block && blocks[n]; ++i) kept.push_back(static_cast<std::int64_t>(n) * block + i);
  }
  return kept;
}

template <class T, class Make>
std::shared_ptr<T> Cutter::once(Known<T>& known, const std::shared_ptr<T>& whole, Side side, const Kept& kept,
                                const std::string& path, const Make& make) {
  const auto found = known.find(whole.get());
  if (found == known.end()) return (known[whole.get()] = {side, kept, make()}).cut;
  if (found->second.side != side || found->second.kept != kept) {
    fail(ErrorKind::usage, path, ": found a weight that is shared, of which ", count(kept), " ",
         side == Side::rows ? "rows" : "columns",
         " are to stay here and others elsewhere; expected the same heads and neurons in all layers that share it");
  }
  return found->second.cut;
}

std::shared_ptr<Parameter> Cutter::parameter(const std::shared_ptr<Parameter>& parameter, Side side, const Kept& kept,
                                             const std::string& path) {
  return once(parameters_, parameter, side, kept, path, [&] {
    const Tensor whole = parameter->tensor();
    if (count(kept) == (side == Side::rows ? whole.rows : whole.cols)) return parameter;
    return parameter_like(*parameter, part_of<double>(backend_, whole, side, kept));
  });
}

std::shared_ptr<LinearWeight> Cutter::weight(const std::shared_ptr<LinearWeight>& weight, Side side, const Kept& kept,
                                             const std::string& path) {
  return once(weights_, weight, side, kept, path, [&] {
    const bool whole = count(kept) == (side == Side::rows ? weight->out() : weight->in());
    if (whole && (weight->kind() == "csr" || weight->kind() == "masked")) return weight;
    std::shared_ptr<LinearWeight> part = made_of(*weight, side, kept, path);
    if (whole) return weight;  // its parts are known now: others that share them must keep them whole, too
    part->refresh(backend_);
    return part;
  });
}

std::shared_ptr<LinearWeight> Cutter::made_of(LinearWeight& whole, Side side, const Kept& kept,
                                              const std::string& path) {
  if (auto* dense = dynamic_cast<DenseWeight*>(&whole)) {
    return std::make_shared<DenseWeight>(parameter(dense->parameter(), side, kept, path));
  }
  if (auto* csr = dynamic_cast<CsrWeight*>(&whole)) return part_of_csr(backend_, *csr, side, kept);
  if (auto* low_rank = dynamic_cast<LowRankWeight*>(&whole)) {
    const bool rows = side == Side::rows;
    return std::make_shared<LowRankWeight>(rows ? weight(low_rank->u(), side, kept, path) : low_rank->u(),
                                           rows ? low_rank->v() : weight(low_rank->v(), side, kept, path));
  }
  if (auto* masked = dynamic_cast<MaskedWeight*>(&whole)) {
    auto part = std::make_shared<MaskedWeight>(backend_, parameter(masked->parameter(), side, kept, path),
                                               masked->scores() != nullptr);
    part->mask() = part_of<std::uint8_t>(backend_, masked->mask().tensor, side, kept);
    if (masked->scores()) {
      *part->scores() =
          *parameter_like(*masked->scores(), part_of<double>(backend_, masked->scores()->tensor(), side, kept));
    }
    return part;
  }
  if (auto* sum = dynamic_cast<SumWeight*>(&whole)) {
    return std::make_shared<SumWeight>(weight(sum->first(), side, kept, path), weight(sum->second(), side, kept, path));
  }
  fail(ErrorKind::usage, path, ": found a weight of kind ", whole.kind(),
       ", expected dense, masked, csr, low_rank or sum to cut heads and neurons from");
}

void Cutter::cut(Linear& linear, Side side, const Kept& kept, const std::string& path) {
  linear.weight = weight(linear.weight, side, kept, path);
  if (side == Side::rows && linear.bias) linear.bias = parameter(linear.bias, side, kept, path);
}

// ---- heads and neurons ----------------------------------------------------------------------------------------------

namespace {

using Keep = std::vector<std::vector<bool>>;

// Cuts layer by layer on a copy, so that a model is cut as a whole or not at all.
void cut_layers(Backend& backend, Model& model, const Keep& keep, const char* what, std::int64_t LayerShape::*size,
                void (*cut)(Cutter&, EncoderLayer&, const std::vector<bool>&, const std::string& path)) {
  std::vector<EncoderLayer> layers = model.layers;
  if (keep.size() != layers.size()) {
    fail(ErrorKind::usage, what, ": found ", keep.size(), " layers, expected ", layers.size());
  }
  Cutter cutter(backend);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const auto kept = std::ranges::count(keep[i], true), all = static_cast<std::ptrdiff_t>(keep[i].size());
    if (all != layers[i].shape.*size) {
      fail(ErrorKind::usage, what, ": found ", all, " in layer ", i, ", expected ", layers[i].shape.*size);
    }
    cut(cutter, layers[i], keep[i], "layer " + std::to_string(i));
    layers[i].shape.*size = kept;
  }
  model.layers = std::move(layers);
  for (std::size_t i = 0; i < keep.size(); ++i) model.config.layers[i].*size = model.layers[i].shape.*size;
  model.refresh(backend);  // what was packed for inference has other shapes now
}

}  // namespace

// q, k, v lose the heads' rows and biases, W_O their columns; b_O stays, also without any head.
void keep_heads(Backend& backend, Model& model, const Keep& keep) {
  cut_layers(backend, model, keep, "heads to keep", &LayerShape::heads,
             [](Cutter& cutter, EncoderLayer& layer, const std::vector<bool>& heads, const std::string& path) {
               const Kept kept = kept_of(heads, layer.shape.head_dim);
               cutter.cut(layer.query, Side::rows, kept, path + ", query");
               cutter.cut(layer.key, Side::rows, kept, path + ", key");
               cutter.cut(layer.value, Side::rows, kept, path + ", value");
               cutter.cut(layer.attention_output, Side::columns, kept, path + ", attention output");
             });
}

// The first feed-forward matrix loses the neurons' rows and biases, the second their columns; b_2 stays.
void keep_neurons(Backend& backend, Model& model, const Keep& keep) {
  cut_layers(backend, model, keep, "neurons to keep", &LayerShape::ffn,
             [](Cutter& cutter, EncoderLayer& layer, const std::vector<bool>& neurons, const std::string& path) {
               const Kept kept = kept_of(neurons, 1);
               cutter.cut(layer.ffn_in, Side::rows, kept, path + ", feed-forward in");
               cutter.cut(layer.ffn_out, Side::columns, kept, path + ", feed-forward out");
             });
}

}  // namespace bertx::compress
