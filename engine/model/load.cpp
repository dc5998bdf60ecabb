// A model from a directory: names as Hugging Face and bertx write them, weights in whatever representation they have.
#include <algorithm>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "bertx/error.h"
#include "bertx/files.h"
#include "bertx/gated_weight.h"
#include "bertx/safetensors.h"
#include "bertx/sum_weight.h"
#include "bertx/tucker_weight.h"
#include "model/build.h"
#include "model/csr_file.h"
#include "model/mask_file.h"
#include "weights/host_copy.h"

namespace bertx {
namespace {

std::string without_prefix(const std::string& path) { return path.starts_with("bert.") ? path.substr(5) : path; }

bool replace_end(std::string& text, std::string_view end, std::string_view by) {
  if (!text.ends_with(end)) return false;
  text.replace(text.size() - end.size(), end.size(), by);
  return true;
}

// Belongs to a head, or to the pooler that some pretrained models lack: may be missing, and is then new.
bool may_be_new(const std::string& path) {
  const std::string name = without_prefix(path);
  return name.starts_with("classifier.") || name.starts_with("qa_outputs.") || name.starts_with("cls.") ||
         name.starts_with("pooler.");
}

class FileSource final : public ParameterSource {
 public:
  FileSource(Backend& backend, const std::filesystem::path& directory, const Config& config, std::uint64_t seed,
             bool new_head, LoadReport& report)
      : backend_(backend),
        files_(WeightFiles::open(directory)),
        random_(backend, config.initializer_range, seed),
        hidden_(config.hidden),
        new_head_(new_head),
        report_(report) {
    for (const TensorEntry* entry : files_.entries()) names_.insert(without_prefix(entry->name));
    for (const auto& [key, target] : files_.metadata()) {
      if (!key.starts_with("alias.")) continue;
      const std::string name = without_prefix(key.substr(6));
      aliases_[name] = target;
      names_.insert(name);
    }
  }

  std::shared_ptr<Parameter> parameter(const std::string& path, std::int64_t rows, std::int64_t cols,
                                       Initial initial) override {
    auto found = shared(parameters_, path, [&](const std::string& name) -> std::shared_ptr<Parameter> {
      const TensorEntry* entry = find(name);
      if (!entry || is_unwanted(name, *entry, rows, cols)) return missing(name, rows, cols, initial);
      return read(*entry, rows, cols, initial == Initial::normal);
    });
    expect_shape_of_alias(path, found->tensor().rows, found->tensor().cols, rows, cols);
    return found;
  }

  std::shared_ptr<LinearWeight> weight(const std::string& path, std::int64_t out, std::int64_t in) override {
    const Level level(*this, path);
    auto found = shared(weights_, path, [&](const std::string& name) -> std::shared_ptr<LinearWeight> {
      if (find(name + ".values")) return csr(name, out, in);
      if (has(name + ".u")) return low_rank(name, out, in);
      if (has(name + ".first")) {
        return std::make_shared<SumWeight>(weight(name + ".first", out, in), weight(name + ".second", out, in));
      }
      if (has(name + ".mix")) return tucker(name, out, in);
      auto w = parameter(name, out, in, Initial::normal);
      if (const TensorEntry* block = find(name + ".block")) return block_masked(name, std::move(w), *block);
      if (const TensorEntry* mask = find(name + ".mask")) return masked(name, std::move(w), *mask);
      if (find(name + ".scores")) {
        return std::make_shared<GatedWeight>(backend_, std::move(w),
                                             parameter(name + ".scores", out, in, Initial::normal));
      }
      return std::make_shared<DenseWeight>(std::move(w));
    });
    expect_shape_of_alias(path, found->out(), found->in(), out, in);
    return found;
  }

  std::int64_t embedding_rank(const std::string& path) override {
    return has(path + ".u") ? columns_of(path + ".u") : 0;
  }

  bool has_pooler() override { return find("pooler.dense.weight") != nullptr; }

  void report_unused() {
    for (const TensorEntry* entry : files_.entries()) {
      if (!used_.contains(entry) && !entry->name.ends_with("position_ids")) report_.unused.push_back(entry->name);
    }
  }

 private:
  // With and without "bert."; gamma and beta as older files say it; the masked LM's bias by its second name.
  const TensorEntry* find(const std::string& path) {
    std::vector<std::string> names{path};
    if (std::string old = path;
        path.find("LayerNorm.") != std::string::npos && (replace_end(old, "LayerNorm.weight", "LayerNorm.gamma") ||
                                                         replace_end(old, "LayerNorm.bias", "LayerNorm.beta"))) {
      names.push_back(old);
    }
    if (path == "cls.predictions.bias") names.push_back("cls.predictions.decoder.bias");
    for (const std::string& name : names) {
      const std::string bare = without_prefix(name);
      for (const std::string& candidate : {name, bare, "bert." + bare}) {
        if (const TensorEntry* entry = files_.find(candidate)) {
          used_.insert(entry);
          return entry;
        }
      }
    }
    return nullptr;
  }

  // Around whatever goes from a weight to its parts: aliases that go in a circle would never end.
  class Level {
   public:
    Level(FileSource& source, const std::string& path) : level_(source.level_) {
      constexpr int deepest = 16;
      if (++level_ > deepest) {
        fail(ErrorKind::bad_input, source.files_.files().front().path().string(), ": tensor ", path,
             ": found parts inside parts or aliases of aliases without end, expected at most ", deepest, " levels");
      }
    }
    ~Level() { --level_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    int& level_;
  };

  // Whether there is a weight of this name, in whatever form: a tensor or an alias that is called so, or begins so.
  bool has(const std::string& path) {
    const std::string name = without_prefix(path);
    if (names_.contains(name)) return true;
    const auto next = names_.lower_bound(name + ".");
    return next != names_.end() && next->starts_with(name + ".");
  }

  // The name under which a tensor or weight lies in the file.
  std::string target(const std::string& path) {
    const auto alias = aliases_.find(without_prefix(path));
    return alias == aliases_.end() ? path : alias->second;
  }

  // One object for all names of one tensor.
  template <class T, class Make>
  std::shared_ptr<T> shared(std::unordered_map<std::string, std::shared_ptr<T>>& known, const std::string& path,
                            const Make& make) {
    const std::string name = target(path), key = without_prefix(name);
    if (const auto found = known.find(key); found != known.end()) return found->second;
    return known[key] = make(name);
  }

  // A name that stands for another one's tensor wants the shape of its own.
  void expect_shape_of_alias(const std::string& path, std::int64_t found_rows, std::int64_t found_cols,
                             std::int64_t rows, std::int64_t cols) {
    if (found_rows == rows && found_cols == cols) return;
    fail(ErrorKind::bad_input, files_.files().front().path().string(), ": alias.", path, ": found ", target(path),
         " of shape [", found_rows, ", ", found_cols, "], expected [", rows, ", ", cols, "] by config.json");
  }

  // A head that was asked for replaces one of another size.
  bool is_unwanted(const std::string& name, const TensorEntry& entry, std::int64_t rows, std::int64_t cols) {
    if (!new_head_ || !may_be_new(name) || entry.elements() == rows * cols) return false;
    used_.erase(&entry);
    return true;
  }

  std::shared_ptr<Parameter> missing(const std::string& name, std::int64_t rows, std::int64_t cols, Initial initial) {
    if (!may_be_new(name)) {
      fail(ErrorKind::bad_input, files_.files().front().path().string(), ": tensor ", name, " is missing, expected [",
           rows, cols == 1 ? "" : ", ", cols == 1 ? "" : std::to_string(cols), "]");
    }
    report_.initialised.push_back(name);
    return random_.parameter(name, rows, cols, initial);
  }

  void expect_shape(const TensorEntry& entry, std::vector<std::int64_t> expected) {
    if (entry.shape == expected) return;
    std::string wanted;
    for (const std::int64_t n : expected) wanted += (wanted.empty() ? "" : ", ") + std::to_string(n);
    fail(ErrorKind::bad_input, files_.path_of(entry).string(), ": tensor ", entry.name, ": found shape ",
         entry.shape_text(), ", expected [", wanted, "] by config.json");
  }

  DType float_type(const TensorEntry& entry) {
    const std::optional<DType> type = dtype_of_element(entry.type);
    if (!type || *type == DType::i32 || *type == DType::u8) {
      fail(ErrorKind::bad_input, files_.path_of(entry).string(), ": tensor ", entry.name, ": found type ",
           name_of(entry.type), ", expected F32, F16, BF16 or F64");
    }
    return *type;
  }

  // F32 on a backend that reads host memory stays where it is, in the mapped file.
  std::shared_ptr<Parameter> read(const TensorEntry& entry, std::int64_t rows, std::int64_t cols, bool decay) {
    auto parameter = read(entry,
                          cols == 1 && entry.shape.size() == 1   ? std::vector{rows}
                          : rows == 1 && entry.shape.size() == 1 ? std::vector{cols}
                                                                 : std::vector{rows, cols},
                          rows, cols);
    parameter->decay = decay;
    return parameter;
  }

  // The same of a tensor that is a matrix [rows, cols] here and of another shape in the file.
  std::shared_ptr<Parameter> read(const TensorEntry& entry, const std::vector<std::int64_t>& shape, std::int64_t rows,
                                  std::int64_t cols) {
    expect_shape(entry, shape);
    const DType type = float_type(entry);
    auto parameter = std::make_shared<Parameter>();
    const Tensor host = view(entry.data, rows, cols, type);
    if (backend_.host_memory() && type == backend_.real() && host.size() > 0) {
      parameter->value = {files_.keep_alive(), host};
    } else {
      parameter->value = make_storage(backend_, rows, cols, backend_.real());
      if (host.size() > 0) backend_.upload(host, parameter->tensor());
    }
    return parameter;
  }

  std::shared_ptr<LinearWeight> csr(const std::string& name, std::int64_t out, std::int64_t in) {
    const auto part = [&](const char* suffix) { return find(name + suffix); };
    const CsrFileEntries entries{part(".shape"), part(".crow_indices"), part(".col_indices"), part(".bitmap"),
                                 part(".values")};
    const std::string where = files_.path_of(*entries.values).string() + ": tensor " + name;
    const CsrIndices indices = read_csr_indices(entries, out, in, where);
    auto values = read(*entries.values, 1, entries.values->elements(), true);
    return std::make_shared<CsrWeight>(out, in, stored(backend_, indices.row_start), stored(backend_, indices.columns),
                                       values);
  }

  // How many columns the file says that a weight has.
  std::int64_t columns_of(const std::string& path) {
    const Level level(*this, path);
    const std::string name = target(path);
    if (const auto known = weights_.find(without_prefix(name)); known != weights_.end()) return known->second->in();
    if (has(name + ".u")) return columns_of(name + ".v");
    if (has(name + ".first")) return columns_of(name + ".first");
    const TensorEntry* dense = find(name);
    if (!dense) return read_csr_shape(find(name + ".shape"), name).second;
    if (dense->shape.size() != 2) {
      fail(ErrorKind::bad_input, files_.path_of(*dense).string(), ": tensor ", dense->name, ": found shape ",
           dense->shape_text(), ", expected two dimensions");
    }
    return dense->shape[1];
  }

  std::shared_ptr<LinearWeight> low_rank(const std::string& name, std::int64_t out, std::int64_t in) {
    const std::int64_t rank = columns_of(name + ".u");
    return std::make_shared<LowRankWeight>(weight(name + ".u", out, rank), weight(name + ".v", rank, in));
  }

  std::shared_ptr<LinearWeight> tucker(const std::string& name, std::int64_t out, std::int64_t in) {
    const auto refuse = [&](const auto&... what) {
      fail(ErrorKind::bad_input, files_.files().front().path().string(), ": tensor ", name, ": ", what...);
    };
    if (out % hidden_ != 0 || in % hidden_ != 0) {
      refuse("found cores for a matrix [", out, ", ", in, "], expected multiples of the hidden size ", hidden_);
    }
    const TensorEntry* entry = find(target(name + ".cores"));
    if (!entry || entry->shape.size() != 3) {
      refuse("found cores of shape ", entry ? entry->shape_text() : "nothing", ", expected three dimensions");
    }
    const std::int64_t cores = entry->shape[0], left = entry->shape[1], right = entry->shape[2];
    const std::int64_t rows = out / hidden_, columns = in / hidden_;
    TuckerBasis basis{weight(name + ".left", hidden_, left), weight(name + ".right", right, hidden_),
                      shared(parameters_, name + ".cores", [&](const std::string&) {
                        return read(*entry, {cores, left, right}, cores, left * right);
                      })};
    return std::make_shared<TuckerWeight>(
        std::move(basis), parameter(name + ".mix", rows * columns, cores, Initial::normal), rows, columns);
  }

  std::shared_ptr<LinearWeight> masked(const std::string& name, std::shared_ptr<Parameter> w, const TensorEntry& mask) {
    const std::int64_t out = w->tensor().rows, in = w->tensor().cols;
    const std::uint8_t* bits = read_bits(mask, out, in, files_.path_of(mask).string());
    const TensorEntry* scores = find(name + ".scores");
    auto weight = std::make_shared<MaskedWeight>(backend_, std::move(w), scores != nullptr);
    upload_bits(bits, weight->mask().tensor);
    if (scores) {
      expect_shape(*scores, {out, in});
      if (scores->bytes > 0)
        backend_.upload(view(scores->data, out, in, float_type(*scores)), weight->scores()->tensor());
    }
    return weight;
  }

  // Its scores may be those of another matrix.
  std::shared_ptr<LinearWeight> block_masked(const std::string& name, std::shared_ptr<Parameter> w,
                                             const TensorEntry& block) {
    const std::string where = files_.path_of(block).string();
    const std::int64_t out = w->tensor().rows, in = w->tensor().cols;
    const BlockForm form = read_block_form(block, out, in, where);
    const TensorEntry *mask = find(name + ".mask"), *entry = find(target(name + ".scores"));
    if (!mask) fail(ErrorKind::bad_input, where, ": tensor ", name, ".mask is missing, expected that of its blocks");
    const std::uint8_t* bits = read_bits(*mask, form.rows, form.cols, where);
    check_block_scores(entry, form, name + ".scores", where);
    auto scores = shared(parameters_, name + ".scores", [&](const std::string&) {
      return read(*entry, entry->shape, entry->shape[0], entry->shape[1]);
    });
    const std::string owner = name.substr(0, name.size() - std::string_view(".weight").size());
    auto weight = std::make_shared<BlockMaskedWeight>(
        backend_, std::move(w), form.size, std::move(scores),
        form.with_bias ? parameter(owner + ".bias", out, 1, Initial::zero) : nullptr);
    upload_bits(bits, weight->mask().tensor);
    return weight;
  }

  void upload_bits(const std::uint8_t* bits, Tensor mask) {
    if (mask.size() == 0) return;
    backend_.upload(view(const_cast<std::uint8_t*>(bits), mask.rows, mask.cols, DType::u8), mask);
  }

  Backend& backend_;
  WeightFiles files_;
  RandomSource random_;
  std::int64_t hidden_;
  bool new_head_;
  int level_ = 0;
  LoadReport& report_;
  // Names without "bert.": the same file serves a model with a head and a bare encoder.
  std::set<std::string> names_;
  std::unordered_map<std::string, std::string> aliases_;
  std::unordered_map<std::string, std::shared_ptr<Parameter>> parameters_;
  std::unordered_map<std::string, std::shared_ptr<LinearWeight>> weights_;
  std::unordered_set<const TensorEntry*> used_;
};

constexpr std::uint64_t max_config_bytes = 16u << 20;

}  // namespace

Model load_model(Backend& backend, const std::filesystem::path& directory, const LoadOptions& options,
                 LoadReport* report) {
  Config config = read_config(directory);
  const bool new_head = options.head.has_value();
  if (options.head) config.head = *options.head;
  if (options.problem) config.problem = *options.problem, config.problem_is_stated = true;
  if (!options.labels.empty()) config.labels = options.labels;

  LoadReport own;
  LoadReport& found = report ? *report : own;
  FileSource source(backend, directory, config, options.seed, new_head, found);
  Model model = build_model(backend, config, source);
  model.original_config = read_text_file(directory / "config.json", max_config_bytes);
  source.report_unused();
  return model;
}

}  // namespace bertx
