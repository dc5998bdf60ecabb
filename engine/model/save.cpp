// A model into a directory: native (every weight in its own representation) or dense (plain Hugging Face).
#include <cmath>
#include <cstring>
#include <deque>
#include <numeric>
#include <unordered_map>
#include <unordered_set>

#include "bertx/block_masked_weight.h"
#include "bertx/error.h"
#include "bertx/model.h"
#include "bertx/safetensors.h"
#include "bertx/tucker_weight.h"
#include "model/csr_file.h"
#include "weights/host_copy.h"
#include "weights/parts.h"

namespace bertx {
namespace {

constexpr std::size_t kLinearsOfALayer = 6;

// Collects tensors for one file; keeps the bytes of those that had to be copied.
class Collector {
 public:
  explicit Collector(Backend& backend) : backend_(backend) {}

  void add(const std::string& name, Tensor tensor, std::vector<std::int64_t> shape) {
    if (tensor.size() > 0 && backend_.host_memory() && tensor.contiguous() && tensor.dtype != DType::f64) {
      tensors.push_back({name, element_type_of(tensor.dtype), std::move(shape), tensor.data});
      return;
    }
    // Numbers of the double reference are written as F32, like those of the other backends.
    const DType type = tensor.dtype == DType::f64 ? DType::f32 : tensor.dtype;
    std::vector<std::byte>& host = bytes_.emplace_back(static_cast<std::size_t>(tensor.size()) * size_of(type));
    if (tensor.size() > 0) backend_.download(tensor, view(host.data(), tensor.rows, tensor.cols, type));
    tensors.push_back({name, element_type_of(type), std::move(shape), host.data()});
  }
  template <class T>
  void add(const std::string& name, ElementType type, const std::vector<T>& content, std::vector<std::int64_t> shape) {
    std::vector<std::byte>& host = bytes_.emplace_back(content.size() * sizeof(T));
    if (!content.empty()) std::memcpy(host.data(), content.data(), host.size());
    tensors.push_back({name, type, std::move(shape), host.data()});
  }

  /// False where the object was written under another name: then this one becomes an alias of it.
  bool first_time(const void* object, const std::string& path) {
    const auto [place, is_new] = written_.emplace(object, path);
    if (!is_new) metadata["alias." + path] = place->second;
    return is_new;
  }

  std::vector<TensorToWrite> tensors;
  Metadata metadata{{"format", "pt"}};

 private:
  Backend& backend_;
  std::deque<std::vector<std::byte>> bytes_;
  std::unordered_map<const void*, std::string> written_;
};

// Biases and LayerNorms are vectors in a checkpoint, everything else is a matrix.
void add_parameter(Collector& out, const std::string& path, const Parameter& p) {
  const Tensor t = p.tensor();
  const bool is_vector = path.ends_with(".bias") || path.find("LayerNorm") != std::string::npos;
  out.add(path, t, is_vector ? std::vector{t.rows} : std::vector{t.rows, t.cols});
}

void add_csr(Collector& out, Backend& backend, const std::string& path, CsrWeight& weight) {
  const CsrPattern& pattern = weight.pattern();
  std::vector<std::int32_t> row_start(static_cast<std::size_t>(pattern.rows) + 1),
      columns(static_cast<std::size_t>(pattern.nnz));
  backend.download(pattern.row_start, view(row_start.data(), 1, pattern.rows + 1, DType::i32));
  if (pattern.nnz > 0) backend.download(pattern.columns, view(columns.data(), 1, pattern.nnz, DType::i32));
  const CsrFileForm form = csr_file_form(pattern.rows, pattern.cols, row_start.data(), columns.data());
  out.add(path + ".shape", ElementType::i64, form.shape, {2});
  if (!form.bitmap.empty() || form.row_start.empty()) {
    out.add(path + ".bitmap", ElementType::u8, form.bitmap, {pattern.rows, (pattern.cols + 7) / 8});
  } else {
    out.add(path + ".crow_indices", ElementType::i32, form.row_start, {pattern.rows + 1});
    if (form.columns32.empty()) {
      out.add(path + ".col_indices", ElementType::i16, form.columns16, {pattern.nnz});
    } else {
      out.add(path + ".col_indices", ElementType::i32, form.columns32, {pattern.nnz});
    }
  }
  out.add(path + ".values", weight.values().tensor(), {pattern.nnz});
}

void add_cores(Collector& out, const std::string& path, const TuckerWeight& weight) {
  const Tensor mix = weight.mix()->tensor(), cores = weight.basis().cores->tensor();
  out.add(path + ".mix", mix, {mix.rows, mix.cols});
  if (!out.first_time(weight.basis().cores.get(), path + ".cores")) return;
  out.add(path + ".cores", cores, {cores.rows, weight.basis().left->in(), weight.basis().right->out()});
}

// Blocks of several matrices may have one set of scores.
void add_block_masked(Collector& out, const std::string& path, BlockMaskedWeight& weight) {
  const Tensor w = weight.parameter()->tensor(), scores = weight.scores()->tensor();
  out.add(path, w, {w.rows, w.cols});
  out.add(path + ".mask", weight.mask().tensor, {weight.block_rows(), weight.block_cols()});
  out.add(path + ".block", ElementType::i64,
          std::vector<std::int64_t>{weight.block().height, weight.block().width, weight.bias() != nullptr}, {3});
  if (out.first_time(weight.scores().get(), path + ".scores")) {
    out.add(path + ".scores", scores, {scores.rows, scores.cols});
  }
}

// Every kind of weight in its own form; what several layers share, whole or as a part, once.
void add_weight(Collector& out, Backend& backend, const std::string& path, LinearWeight& weight) {
  if (!out.first_time(&weight, path)) return;
  if (auto* csr = dynamic_cast<CsrWeight*>(&weight)) {
    add_csr(out, backend, path, *csr);
  } else if (auto* block = dynamic_cast<BlockMaskedWeight*>(&weight)) {
    add_block_masked(out, path, *block);
  } else if (const std::vector<WeightPart> parts = parts_of(weight); !parts.empty()) {
    for (const WeightPart& part : parts) add_weight(out, backend, path + std::string(part.suffix), *part.weight);
    if (const auto* tucker = dynamic_cast<const TuckerWeight*>(&weight)) add_cores(out, path, *tucker);
  } else {
    weight.visit(path, [&](const std::string& name, Parameter& p) {
      out.add(name, p.tensor(), {p.tensor().rows, p.tensor().cols});
    });
    weight.structure(path, [&](const std::string& name, Storage& part) {
      out.add(name, part.tensor, {part.tensor.rows, part.tensor.cols});
    });
  }
}

// Row i of `from` [from.size(), cols] as row to_row[i] of zeros [rows, cols]; the same for columns.
std::vector<float> spread(const std::vector<float>& from, const std::vector<std::int64_t>& to_row,
                          const std::vector<std::int64_t>& to_col, std::int64_t rows, std::int64_t cols) {
  std::vector<float> to(static_cast<std::size_t>(rows * cols));
  std::size_t next = 0;
  for (const std::int64_t i : to_row) {
    for (const std::int64_t j : to_col) to[static_cast<std::size_t>(i * cols + j)] = from[next++];
  }
  return to;
}

std::vector<std::int64_t> first_of(std::int64_t count) {
  std::vector<std::int64_t> places(static_cast<std::size_t>(count));
  std::iota(places.begin(), places.end(), 0);
  return places;
}

// Where the rows of heads of width shape.head_dim lie among heads of the full width.
std::vector<std::int64_t> head_places(const LayerShape& shape, std::int64_t full) {
  std::vector<std::int64_t> places;
  for (std::int64_t h = 0; h < shape.heads; ++h) {
    for (std::int64_t d = 0; d < shape.head_dim; ++d) places.push_back(h * full + d);
  }
  return places;
}

// Removed heads and neurons grow back as zeros: rows of q, k, v and of the first feed-forward matrix, columns of the
// matrices that follow. Their context is 0, and so is activation(0), so the logits stay. Heads that are narrower than
// hidden / heads are filled up the same way; their scores were divided by the root of their own width, so the queries
// make up for the root of the full one.
void add_dense_linear(Collector& out, Backend& backend, const std::string& path, const Linear& linear,
                      const LayerShape& shape, const Config& config) {
  const std::int64_t rows = linear.weight->out(), cols = linear.weight->in(), width = config.head_dim();
  std::int64_t to_rows = rows, to_cols = cols;
  std::vector<std::int64_t> row_places = first_of(rows), col_places = first_of(cols);
  if (path.find(".self.") != std::string::npos) {
    to_rows = config.hidden;
    row_places = head_places(shape, width);
  } else if (path.ends_with("attention.output.dense")) {
    to_cols = config.hidden;
    col_places = head_places(shape, width);
  } else if (path.ends_with("intermediate.dense")) {
    to_rows = config.ffn;
  } else {
    to_cols = config.ffn;
  }
  const Storage dense = make_storage(backend, rows, cols, backend.real());
  linear.weight->materialize(backend, dense.tensor);
  const auto* block = dynamic_cast<const BlockMaskedWeight*>(linear.weight.get());
  const Tensor shown_bias = block && block->bias() ? block->masked_bias() : linear.bias->tensor();
  std::vector<float> host = downloaded<float>(backend, dense.tensor), bias = downloaded<float>(backend, shown_bias);
  if (path.ends_with(".query") && shape.head_dim != width) {
    const double scale = std::sqrt(static_cast<double>(width) / static_cast<double>(shape.head_dim));
    for (std::vector<float>* values : {&host, &bias}) {
      for (float& value : *values) value = static_cast<float>(scale * static_cast<double>(value));
    }
  }
  out.add(path + ".weight", ElementType::f32, spread(host, row_places, col_places, to_rows, to_cols),
          {to_rows, to_cols});
  out.add(path + ".bias", ElementType::f32, spread(bias, row_places, {0}, to_rows, 1), {to_rows});
}

// One number of heads and one width hold for all layers of a plain directory.
void expect_portable_heads(const Config& config) {
  for (std::size_t l = 0; l < config.layers.size(); ++l) {
    const LayerShape& shape = config.layers[l];
    if (shape.head_dim <= config.head_dim() && shape.heads <= config.heads) continue;
    fail(ErrorKind::usage, "layer ", l, ": found ", shape.heads, " heads of ", shape.head_dim,
         " features, expected at most ", config.heads, " of ", config.head_dim(), " in a plain directory");
  }
}

// The word embeddings as one table.
void add_word_table(Collector& out, Backend& backend, const std::string& path, const Embeddings& embeddings) {
  const Tensor word = embeddings.word->tensor(), projection = embeddings.projection->tensor();
  const Storage table = make_storage(backend, word.rows, projection.cols, backend.real());
  backend.gemm(Trans::no, Trans::no, word, projection, table.tensor, Write::overwrite);
  std::vector<float> host(static_cast<std::size_t>(table.tensor.size()));
  if (!host.empty()) backend.download(table.tensor, view(host.data(), word.rows, projection.cols, DType::f32));
  out.add(path, ElementType::f32, host, {word.rows, projection.cols});
}

// The name of the linear map that a parameter belongs to: "….query" of "….query.weight.values" and "….query.bias".
std::string owner(const std::string& path) {
  const std::size_t weight = path.find(".weight");
  return path.substr(0, weight != std::string::npos ? weight : path.rfind(".bias"));
}

}  // namespace

void save_model(Backend& backend, Model& model, const std::filesystem::path& directory, ExportForm form) {
  Collector out(backend);
  Config config = model.config;
  if (form == ExportForm::dense) {
    expect_portable_heads(config);
    config.layers.assign(config.layers.size(), {config.heads, config.head_dim(), config.ffn});
  }

  std::unordered_set<std::string> linears;
  std::size_t seen = 0;
  model.visit_linears([&](const std::string& path, Linear& linear) {
    linears.insert(path);
    const std::size_t layer = seen++ / kLinearsOfALayer;
    if (form == ExportForm::dense) {
      add_dense_linear(out, backend, path, linear, model.config.layers[layer], config);
      return;
    }
    add_weight(out, backend, path + ".weight", *linear.weight);
    if (out.first_time(linear.bias.get(), path + ".bias")) add_parameter(out, path + ".bias", *linear.bias);
  });
  const Parameter *word = model.embeddings.word.get(), *projection = model.embeddings.projection.get();
  model.visit_every_path([&](const std::string& path, Parameter& p) {
    const bool is_embedding = &p == word || &p == projection;
    const bool is_decoder = is_embedding && path.starts_with("cls.");  // config.json says that it is tied
    if (linears.contains(owner(path)) || is_decoder) return;
    if (form == ExportForm::dense && projection && is_embedding) {
      if (&p == word) add_word_table(out, backend, owner(path) + ".weight", model.embeddings);
      return;
    }
    if (form == ExportForm::dense || out.first_time(&p, path)) add_parameter(out, path, p);
  });

  write_config(config, directory, model.original_config);
  write_safetensors(directory / "model.safetensors", out.tensors, out.metadata);
}

}  // namespace bertx
