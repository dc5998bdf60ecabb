// The weights of a model directory: one file, or shards that an index names and that must agree with it.
#include <algorithm>
#include <numeric>
#include <unordered_map>

#include "bertx/error.h"
#include "bertx/files.h"
#include "bertx/safetensors.h"
#include "io/json.h"
#include "io/posix.h"
#include "io/safetensors_header.h"

namespace bertx {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSingle = "model.safetensors", kIndex = "model.safetensors.index.json";
constexpr std::uint64_t kMaxIndexBytes = 64u << 20;

/// What stands in an index.
struct Index {
  std::vector<std::pair<std::string, std::size_t>> tensors;  ///< name, position in shards
  std::vector<std::string> shards;                           ///< in the order of their first tensor by name
  std::optional<std::int64_t> total_size;
};

bool is_inside(const fs::path& path, const fs::path& directory) {
  return std::mismatch(directory.begin(), directory.end(), path.begin(), path.end()).first == directory.end();
}

/// The folder models--org--name of the Hub's cache around `directory`, where snapshots link to ../../blobs; else
/// `directory` itself. Shards must not lie outside of it.
fs::path allowed_root(const fs::path& directory) {
  for (fs::path at = directory; at.has_relative_path(); at = at.parent_path()) {
    if (at.filename().native().starts_with("models--")) return at;
  }
  return directory;
}

/// A shard is a file of the same directory: an index from elsewhere must not make us read other files.
void check_shard_name(const std::string& shard, const std::string& where) {
  if (!is_plain_name(shard) || shard.find('/') != std::string::npos || !shard.ends_with(".safetensors")) {
    fail(ErrorKind::bad_input, where, ": found ", quote(shard),
         ", expected the name of a .safetensors file in the same directory");
  }
}

Index read_index(const fs::path& path) {
  const nlohmann::json json = parse_json_file(path, kMaxIndexBytes);
  const JsonObject root(json, shown(path));
  Index index;
  if (root.has("metadata")) {
    const JsonObject metadata(root.at("metadata"), root.where() + ": metadata");
    if (metadata.has("total_size")) index.total_size = metadata.integer("total_size", 0, INT64_MAX);
  }
  const JsonObject map(root.at("weight_map"), root.where() + ": weight_map");
  std::unordered_map<std::string, std::size_t> positions;
  for (const auto& [name, value] : root.at("weight_map").items()) {
    const std::string where = map.where() + ": " + quote(name);
    if (!value.is_string()) fail(ErrorKind::bad_input, where, ": found ", json_found(value), ", expected a file name");
    const auto& shard = value.get_ref<const std::string&>();
    check_shard_name(shard, where);
    const auto [position, is_new] = positions.emplace(shard, index.shards.size());
    if (is_new) index.shards.push_back(shard);
    index.tensors.emplace_back(name, position->second);
  }
  if (index.tensors.empty()) fail(ErrorKind::bad_input, map.where(), ": found no tensors, expected at least one");
  return index;
}

SafetensorsFile open_shard(const fs::path& path, const fs::path& root, const fs::path& index, Access access) {
  std::error_code error;
  const fs::path real = fs::canonical(path, error);
  if (error) {
    fail(ErrorKind::bad_input, shown(index), ": weight_map: shard ", quote(path.filename().native()), ": found ",
         error.message(), ", expected this file beside the index");
  }
  if (!is_inside(real, root)) {
    fail(ErrorKind::bad_input, shown(path), ": found a link to ", shown(real), ", expected a file inside ",
         shown(root));
  }
  return SafetensorsFile::open(path, access);
}

/// Every tensor of the index is in its shard and in no other, and the shards hold nothing else.
void check_agreement(const Index& index, std::span<const SafetensorsFile> files, const std::string& source) {
  std::unordered_map<std::string_view, std::size_t> shard_of;
  for (const auto& [name, shard] : index.tensors) {
    shard_of.emplace(name, shard);
    if (!files[shard].find(name)) {
      fail(ErrorKind::bad_input, source, ": weight_map: tensor ", quote(name), ": not found in ", index.shards[shard],
           ", expected it there");
    }
  }
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < files.size(); ++i) {
    for (const TensorEntry& entry : files[i].entries()) {
      bytes += entry.bytes;
      const auto stated = shard_of.find(entry.name);
      if (stated == shard_of.end()) {
        fail(ErrorKind::bad_input, source, ": weight_map: tensor ", quote(entry.name), ": found in ", index.shards[i],
             ", but not in the index; expected both to agree");
      }
      if (stated->second != i) {
        fail(ErrorKind::bad_input, source, ": weight_map: tensor ", quote(entry.name), ": found in ", index.shards[i],
             " and in ", index.shards[stated->second], ", expected it in one shard");
      }
    }
  }
  if (index.total_size && static_cast<std::uint64_t>(*index.total_size) != bytes) {
    fail(ErrorKind::bad_input, source, ": metadata: total_size: found ", *index.total_size, ", expected ", bytes,
         ", the bytes of all tensors");
  }
}

[[noreturn]] void fail_without_weights(const fs::path& directory) {
  std::error_code error;
  for (const auto& item : fs::directory_iterator(directory, error)) {
    const std::string name = item.path().filename().native();
    if (!name.starts_with("pytorch_model") || !(name.ends_with(".bin") || name.ends_with(".bin.index.json"))) continue;
    fail(ErrorKind::bad_input, shown(item.path()), ": found a pickle, which may run code when it is loaded; expected ",
         kSingle, ". Convert it with Python: from transformers import AutoModel; AutoModel.from_pretrained(",
         quote(directory.native(), 4096), ").save_pretrained(\"converted\", safe_serialization=True)",
         " (take the class of the architecture, e.g. AutoModelForSequenceClassification, to keep the head)");
  }
  if (error) fail(ErrorKind::io, shown(directory), ": cannot read the directory: ", error.message());
  fail(ErrorKind::io, shown(directory), ": found neither ", kSingle, " nor ", kIndex, ", expected one of them");
}

}  // namespace

WeightFiles WeightFiles::open(const fs::path& model_directory, Access access) {
  WeightFiles weights;
  const fs::path single = model_directory / kSingle, index_path = model_directory / kIndex;
  std::error_code error;
  if (fs::symlink_status(single, error).type() != fs::file_type::not_found && !error) {
    weights.files_.push_back(SafetensorsFile::open(single, access));
  } else if (fs::exists(index_path, error)) {
    const Index index = read_index(index_path);
    const fs::path root = allowed_root(fs::canonical(model_directory));
    for (const std::string& shard : index.shards) {
      weights.files_.push_back(open_shard(model_directory / shard, root, index_path, access));
    }
    check_agreement(index, weights.files_, shown(index_path));
  } else {
    fail_without_weights(model_directory);
  }

  for (const SafetensorsFile& file : weights.files_) {
    for (const TensorEntry& entry : file.entries()) weights.entries_.push_back(&entry);
  }
  weights.by_name_.resize(weights.entries_.size());
  std::iota(weights.by_name_.begin(), weights.by_name_.end(), 0u);
  std::sort(weights.by_name_.begin(), weights.by_name_.end(),
            [&](std::uint32_t a, std::uint32_t b) { return weights.entries_[a]->name < weights.entries_[b]->name; });
  return weights;
}

const TensorEntry* WeightFiles::find(std::string_view name) const {
  const auto found =
      std::lower_bound(by_name_.begin(), by_name_.end(), name,
                       [&](std::uint32_t i, std::string_view wanted) { return entries_[i]->name < wanted; });
  return found != by_name_.end() && entries_[*found]->name == name ? entries_[*found] : nullptr;
}

std::vector<std::string> WeightFiles::names() const {
  std::vector<std::string> names;
  for (const std::uint32_t i : by_name_) names.push_back(entries_[i]->name);
  return names;
}

const fs::path& WeightFiles::path_of(const TensorEntry& entry) const {
  for (const SafetensorsFile& file : files_) {
    const auto entries = file.entries();
    if (std::less_equal<>()(entries.data(), &entry) && std::less<>()(&entry, entries.data() + entries.size())) {
      return file.path();
    }
  }
  return files_.front().path();
}

Buffer WeightFiles::keep_alive() const {
  if (files_.size() == 1) return files_.front().keep_alive();
  std::size_t bytes = 0;
  for (const SafetensorsFile& file : files_) bytes += file.file_bytes();
  const auto shared = std::make_shared<std::vector<SafetensorsFile>>(files_);
  return {std::shared_ptr<void>(shared, shared.get()), bytes};
}

void WeightFiles::check_unchanged() const {
  for (const SafetensorsFile& file : files_) file.check_unchanged();
}

}  // namespace bertx
