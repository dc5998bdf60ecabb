#include "pruning/rewind.h"

#include <cstring>

#include "bertx/error.h"
#include "bertx/safetensors.h"

namespace bertx::compress {

void RewindPoint::take(Backend& backend, Model& model) {
  values_.clear();
  model.visit([&](const std::string& path, Parameter& p) {
    const Tensor t = p.tensor();
    if (p.frozen || t.size() == 0) return;
    Value& value = values_[path];
    value = {t.rows, t.cols, t.dtype, std::vector<std::byte>(static_cast<std::size_t>(t.size()) * size_of(t.dtype))};
    backend.download(t, view(value.bytes.data(), t.rows, t.cols, t.dtype));
  });
}

void RewindPoint::restore(Backend& backend, Model& model) const {
  std::vector<std::pair<Tensor, const Value*>> all;
  model.visit([&](const std::string& path, Parameter& p) {
    const Tensor t = p.tensor();
    if (p.frozen || t.size() == 0) return;
    const auto found = values_.find(path);
    if (found == values_.end()) {
      fail(ErrorKind::bad_input, "weights to rewind to: found none for ", path, ", expected [", t.rows, ", ", t.cols,
           "]");
    }
    const Value& value = found->second;
    if (value.rows != t.rows || value.cols != t.cols || value.type != t.dtype) {
      fail(ErrorKind::bad_input, "weights to rewind to: ", path, ": found [", value.rows, ", ", value.cols,
           "], expected [", t.rows, ", ", t.cols, "] as the model's parameter, of the same type");
    }
    all.emplace_back(t, &value);
  });
  for (const auto& [t, value] : all) {
    backend.upload(view(const_cast<std::byte*>(value->bytes.data()), t.rows, t.cols, t.dtype), t);
  }
  model.refresh(backend);
}

void RewindPoint::save(const std::filesystem::path& path) const {
  if (!is_set()) return;
  std::vector<TensorToWrite> tensors;
  for (const auto& [name, value] : values_) {
    tensors.push_back({name, element_type_of(value.type), {value.rows, value.cols}, value.bytes.data()});
  }
  write_safetensors(path, tensors);
}

void RewindPoint::load(const std::filesystem::path& path) {
  clear();
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return;
  const SafetensorsFile file = SafetensorsFile::open(path);
  for (const TensorEntry& entry : file.entries()) {
    const std::optional<DType> type = dtype_of_element(entry.type);
    if (!type || entry.shape.size() != 2) {
      fail(ErrorKind::bad_input, path.string(), ": tensor ", entry.name, ": found ", name_of(entry.type), " ",
           entry.shape_text(), ", expected numbers of two dimensions");
    }
    require_finite(entry, path);
    Value& value = values_[entry.name];
    value = {entry.shape[0], entry.shape[1], *type, std::vector<std::byte>(entry.bytes)};
    if (entry.bytes > 0) std::memcpy(value.bytes.data(), entry.data, entry.bytes);
  }
}

}  // namespace bertx::compress
