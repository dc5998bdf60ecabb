// Writing safetensors: header padded to 8 bytes, then the tensors, streamed.
#include <algorithm>
#include <cassert>
#include <numeric>

#include "bertx/error.h"
#include "bertx/files.h"
#include "bertx/safetensors.h"
#include "io/json.h"
#include "io/posix.h"
#include "io/safetensors_header.h"

namespace bertx {
namespace {

std::uint64_t bytes_of(const TensorToWrite& tensor) {
  std::uint64_t bytes = size_of(tensor.type);
  for (const std::int64_t dimension : tensor.shape) {
    assert(dimension >= 0);
    bytes *= static_cast<std::uint64_t>(dimension);
  }
  return bytes;
}

/// A string as JSON writes it; malformed UTF-8 (of a label, say) becomes U+FFFD.
std::string json_string(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string header_of(std::span<const TensorToWrite> tensors, std::span<const std::size_t> order,
                      const Metadata& metadata) {
  std::string header = "{";
  if (!metadata.empty()) {
    header += "\"__metadata__\":{";
    for (bool first = true; const auto& [key, value] : metadata) {
      header += (first ? "" : ",") + json_string(key) + ":" + json_string(value);
      first = false;
    }
    header += "}";
  }
  std::uint64_t offset = 0;
  for (const std::size_t i : order) {
    const TensorToWrite& tensor = tensors[i];
    header += (header.size() > 1 ? "," : "") + json_string(tensor.name) + ":{\"dtype\":\"";
    header += name_of(tensor.type);
    header += "\",\"shape\":[";
    for (std::size_t d = 0; d < tensor.shape.size(); ++d) header += (d ? "," : "") + std::to_string(tensor.shape[d]);
    header += "],\"data_offsets\":[" + std::to_string(offset);
    offset += bytes_of(tensor);
    header += "," + std::to_string(offset) + "]}";
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  return header;
}

}  // namespace

void write_safetensors(const std::filesystem::path& path, std::span<const TensorToWrite> tensors,
                       const Metadata& metadata) {
  // Wider elements first: sizes are multiples of 8, then of 4, then of 2, so every tensor is aligned.
  std::vector<std::size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return size_of(tensors[a].type) > size_of(tensors[b].type); });
  std::vector<std::string_view> names;
  for (const TensorToWrite& tensor : tensors) names.push_back(tensor.name);
  std::sort(names.begin(), names.end());
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (!is_plain_name(names[i]) || names[i] == "__metadata__" || (i > 0 && names[i] == names[i - 1])) {
      fail(ErrorKind::usage, shown(path), ": tensor name: found ", quote(names[i]),
           ", expected names that differ, without control characters");
    }
  }

  const std::string header = header_of(tensors, order, metadata);
  if (header.size() > kMaxHeaderBytes) {
    fail(ErrorKind::usage, shown(path), ": the header would have ", header.size(), " bytes, expected at most ",
         kMaxHeaderBytes);
  }
  char length[8];
  for (int i = 0; i < 8; ++i) length[i] = static_cast<char>(header.size() >> (8 * i) & 0xFF);
  AtomicFile file(path);
  file.write(length, sizeof length);
  file.write(header.data(), header.size());
  for (const std::size_t i : order) file.write(tensors[i].data, bytes_of(tensors[i]));
  file.commit();
}

}  // namespace bertx
