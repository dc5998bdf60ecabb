#include "train/checkpoint.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "bertx/error.h"
#include "bertx/files.h"
#include "bertx/safetensors.h"
#include "io/json.h"
#include "train/crc32c.h"

namespace bertx {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPrefix = "checkpoint-";
constexpr const char* kRemoved = ".removed-checkpoint-";
constexpr const char* kRequired[] = {"config.json", "model.safetensors", kOptimizerFile,
                                     kTrainerState, kTrainingArgs,       kBertxState};

void write_json(const fs::path& path, const nlohmann::json& json) { write_text_file(path, json.dump(2) + "\n"); }

/// Tensors of a backend on their way into a file.
class TensorList {
 public:
  explicit TensorList(Backend& backend) : backend_(backend) {}
  void add(const std::string& name, Tensor t) {
    const void* data = t.data;
    if (!backend_.host_memory()) {
      copies_.emplace_back(static_cast<std::size_t>(t.size()) * size_of(t.dtype));
      backend_.download(t, view(copies_.back().data(), t.rows, t.cols, t.dtype));
      data = copies_.back().data();
    }
    tensors_.push_back({name, element_type_of(t.dtype), {t.rows, t.cols}, data});
  }
  void write(const fs::path& path) const { write_safetensors(path, tensors_); }
  bool empty() const { return tensors_.empty(); }

 private:
  Backend& backend_;
  std::vector<TensorToWrite> tensors_;
  std::vector<std::vector<std::byte>> copies_;  // of memory that the host cannot read
};

void write_moments(const fs::path& path, Backend& backend, const Optimizer& optimizer) {
  TensorList tensors(backend);
  for (const Optimizer::Entry& entry : optimizer.entries()) {
    tensors.add(entry.path + ".exp_avg", entry.first_moment.tensor);
    tensors.add(entry.path + ".exp_avg_sq", entry.second_moment.tensor);
  }
  tensors.write(path);
}

void write_objective(const fs::path& path, Backend& backend, Objective& objective) {
  TensorList tensors(backend);
  objective.visit([&](const std::string& name, Parameter& p) { tensors.add(name, p.tensor()); });
  if (!tensors.empty()) tensors.write(path);
}

void load_tensor(const SafetensorsFile& file, const std::string& name, Backend& backend, Tensor to) {
  const TensorEntry* entry = file.find(name);
  const std::string where = file.path().string(),
                    expected = text(name_of(element_type_of(to.dtype)), " [", to.rows, ", ", to.cols, "]");
  if (!entry) fail(ErrorKind::bad_input, where, ": found no ", name, ", expected ", expected);
  if (entry->type != element_type_of(to.dtype) || entry->shape != std::vector<std::int64_t>{to.rows, to.cols}) {
    fail(ErrorKind::bad_input, where, ": ", name, ": found ", name_of(entry->type), " ", entry->shape_text(),
         ", expected ", expected, " as the model's parameter");
  }
  require_finite(*entry, file.path());
  backend.upload(view(entry->data, to.rows, to.cols, to.dtype), to);
}

void write_manifest(const fs::path& directory) {
  nlohmann::json files = nlohmann::json::object();
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    const FileChecksum sum = checksum_file(entry.path());
    files[entry.path().filename().string()] = {{"bytes", sum.bytes}, {"crc32c", crc_text(sum.crc)}};
  }
  write_json(directory / kManifest, {{"version", kCheckpointVersion}, {"files", files}});
}

}  // namespace

fs::path checkpoint_path(const fs::path& output_dir, std::int64_t step) { return output_dir / text(kPrefix, step); }

void write_checkpoint(const fs::path& path, const CheckpointContent& content) {
  DirectoryWriter writer(path);
  save_model(content.backend, content.model, writer.path(), ExportForm::native);
  if (content.tokenizer) content.tokenizer->save(writer.path());
  write_moments(writer.path() / kOptimizerFile, content.backend, content.optimizer);
  if (content.objective) write_objective(writer.path() / kObjectiveFile, content.backend, *content.objective);
  write_json(writer.path() / kTrainerState, content.trainer_state);
  write_json(writer.path() / kBertxState, content.bertx_state);
  write_json(writer.path() / kTrainingArgs, content.training_args);
  if (content.hook) content.hook->save_files(content.backend, writer.path());
  write_manifest(writer.path());
  writer.commit();
}

void verify_checkpoint(const fs::path& path) {
  const fs::path manifest_path = path / kManifest;
  std::error_code error;
  if (!fs::is_directory(path, error))
    fail(ErrorKind::bad_input, path.string(), ": found no directory, expected a checkpoint");
  if (!fs::exists(manifest_path, error)) {
    fail(ErrorKind::bad_input, path.string(), ": found no ", kManifest, ", expected a complete checkpoint of bertx");
  }
  const nlohmann::json json = parse_json_file(manifest_path);
  if (!json.is_object())
    fail(ErrorKind::bad_input, manifest_path.string(), ": found ", json_found(json), ", expected an object");
  const JsonObject manifest(json, manifest_path.string());
  const std::int64_t version = manifest.integer("version", 1, INT64_MAX);
  if (version > kCheckpointVersion) {
    fail(ErrorKind::bad_input, manifest_path.string(), ": found format version ", version, ", expected at most ",
         kCheckpointVersion, ": it was written by a later bertx");
  }
  const nlohmann::json& files = manifest.at("files");
  if (!files.is_object()) manifest.fail_at("files", "an object");
  for (const char* name : kRequired) {
    if (!files.contains(name))
      fail(ErrorKind::bad_input, manifest_path.string(), ": files: found no ", name, ", expected one");
  }
  for (const auto& [name, value] : files.items()) {
    const std::string where = text(manifest_path.string(), ": files: ", quoted(name));
    if (name.empty() || fs::path(name).filename() != name || name == "." || name == "..") {
      fail(ErrorKind::bad_input, where, ": expected the name of a file of this directory");
    }
    if (!value.is_object()) fail(ErrorKind::bad_input, where, ": found ", json_found(value), ", expected an object");
    const JsonObject expected(value, where);
    const std::int64_t bytes = expected.integer("bytes", 0, INT64_MAX);
    const std::string crc = expected.string("crc32c");
    const fs::path file = path / name;
    if (!fs::is_regular_file(file, error))
      fail(ErrorKind::bad_input, file.string(), ": found no file, expected ", bytes, " bytes");
    const std::uintmax_t size = fs::file_size(file, error);
    if (size != static_cast<std::uintmax_t>(bytes)) {
      fail(ErrorKind::bad_input, file.string(), ": found ", size, " bytes, expected ", bytes,
           ": the file is not complete");
    }
    const FileChecksum sum = checksum_file(file);
    if (crc_text(sum.crc) != crc) {
      fail(ErrorKind::bad_input, file.string(), ": found checksum ", crc_text(sum.crc), ", expected ", crc,
           ": the file is damaged");
    }
  }
}

void load_moments(const fs::path& checkpoint, Backend& backend, Optimizer& optimizer) {
  const fs::path path = checkpoint / kOptimizerFile;
  const SafetensorsFile file = SafetensorsFile::open(path);
  for (const Optimizer::Entry& entry : optimizer.entries()) {
    load_tensor(file, entry.path + ".exp_avg", backend, entry.first_moment.tensor);
    load_tensor(file, entry.path + ".exp_avg_sq", backend, entry.second_moment.tensor);
  }
  if (file.entries().size() != 2 * optimizer.entries().size()) {
    fail(ErrorKind::bad_input, path.string(), ": found ", file.entries().size(), " tensors, expected ",
         2 * optimizer.entries().size(), ", two for each parameter that is trained");
  }
  optimizer.moments_were_loaded();
}

void load_objective(const fs::path& checkpoint, Backend& backend, Objective& objective) {
  std::vector<std::pair<std::string, Tensor>> parameters;
  objective.visit([&](const std::string& name, Parameter& p) { parameters.emplace_back(name, p.tensor()); });
  const fs::path path = checkpoint / kObjectiveFile;
  std::error_code error;
  const std::size_t expected = parameters.size();
  if (expected == 0 && !fs::exists(path, error)) return;
  const SafetensorsFile file = SafetensorsFile::open(path);
  if (file.entries().size() != expected) {
    fail(ErrorKind::bad_input, path.string(), ": found ", file.entries().size(), " tensors, expected ", expected,
         ", the parameters of the objective");
  }
  for (const auto& [name, tensor] : parameters) load_tensor(file, name, backend, tensor);
}

std::vector<std::pair<std::int64_t, fs::path>> list_checkpoints(const fs::path& output_dir) {
  std::vector<std::pair<std::int64_t, fs::path>> found;
  std::error_code error;
  for (fs::directory_iterator it(output_dir, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (!name.starts_with(kPrefix) || !it->is_directory(error)) continue;
    const std::optional<std::int64_t> step = parse_int(std::string_view(name).substr(std::string_view(kPrefix).size()));
    if (step && *step >= 0) found.emplace_back(*step, it->path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

void rotate_checkpoints(const fs::path& output_dir, std::int64_t limit, std::int64_t newest, std::int64_t best) {
  if (limit <= 0) return;
  auto all = list_checkpoints(output_dir);
  std::erase_if(all, [&](const auto& checkpoint) { return checkpoint.first > newest; });
  std::int64_t excess = static_cast<std::int64_t>(all.size()) - limit;
  for (const auto& [step, path] : all) {
    if (excess <= 0) break;
    if (step == newest || step == best) continue;
    remove_checkpoint(path);
    --excess;
  }
}

void remove_checkpoint(const fs::path& path) {
  const std::string step = path.filename().string().substr(std::string_view(kPrefix).size());
  const fs::path removed = path.parent_path() / (kRemoved + step);
  std::error_code error;
  fs::remove_all(removed, error);
  fs::rename(path, removed, error);
  if (!error) fs::remove_all(removed, error);
  if (error) fail(ErrorKind::io, path.string(), ": cannot be removed: ", error.message());
}

void clean_leftovers(const fs::path& output_dir) {
  std::vector<fs::path> removed;
  std::error_code error;
  for (fs::directory_iterator it(output_dir, error), end; !error && it != end; it.increment(error)) {
    if (it->path().filename().string().starts_with(kRemoved)) removed.push_back(it->path());
  }
  for (const fs::path& path : removed) fs::remove_all(path, error);
}

fs::path find_last_checkpoint(const fs::path& output_dir, std::vector<std::string>* skipped) {
  const auto all = list_checkpoints(output_dir);
  for (auto it = all.rbegin(); it != all.rend(); ++it) {
    try {
      verify_checkpoint(it->second);
      return it->second;
    } catch (const Error& error) {
      if (skipped) skipped->push_back(error.what());
    }
  }
  return {};
}

fs::path resolve_checkpoint(const TrainOptions& options, std::vector<std::string>& warnings) {
  const fs::path& named = *options.resume_from_checkpoint;
  const fs::path parent = named == "true" ? options.output_dir : named;
  if (named != "true" && list_checkpoints(parent).empty()) {
    verify_checkpoint(named);
    return named;
  }
  std::vector<std::string> skipped;
  const fs::path found = find_last_checkpoint(parent, &skipped);
  if (found.empty()) {
    std::string why;
    for (const std::string& reason : skipped) why += "\n  " + reason;
    fail(ErrorKind::bad_input, "resume_from_checkpoint: found no usable checkpoint in ", parent.string(),
         ", expected one", why);
  }
  for (const std::string& reason : skipped) warnings.push_back("skipped a checkpoint: " + reason);
  return found;
}

}  // namespace bertx
