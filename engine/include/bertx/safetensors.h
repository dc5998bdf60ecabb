// Weights in files: safetensors, one file or shards with an index, read by memory mapping and written in one pass.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bertx/tensor.h"

namespace bertx {

/// The element types of safetensors that bertx reads and writes.
enum class ElementType : std::uint8_t { f64, f32, f16, bf16, i64, u64, i32, u32, i16, u16, i8, u8, boolean };

std::string_view name_of(ElementType type);                         ///< "F32", "BF16", "BOOL", …
std::optional<ElementType> element_type_of(std::string_view name);  ///< of "F32", …; nothing when unknown
std::size_t size_of(ElementType type);
std::optional<DType> dtype_of_element(ElementType type);  ///< nothing where the engine has no such type
ElementType element_type_of(DType type);

/// One tensor of an open file. `data` is aligned to its element size and may be written to: the pages are private to
/// this process (copy on write), the file never changes.
struct TensorEntry {
  std::string name;  ///< no control characters
  ElementType type = ElementType::f32;
  std::vector<std::int64_t> shape;  ///< [] is a scalar; zeros are allowed; the product fits in 63 bits
  void* data = nullptr;
  std::size_t bytes = 0;

  std::int64_t elements() const { return static_cast<std::int64_t>(bytes / size_of(type)); }
  std::string shape_text() const;  ///< "[384, 1536]"
};

using Metadata = std::map<std::string, std::string>;

/// How the bytes of a file come into memory.
///
/// `map`: nothing is copied or read before it is used. If another process shortens the file later, touching a lost page
/// raises SIGBUS: see install_mapping_guard(). Files replaced by rename (as bertx itself does) are not affected.
/// `read`: all bytes are read into memory of this process, after which the file may change as it likes.
enum class Access : bool { map, read };

/// An open safetensors file, checked completely: after open() every entry lies inside the file, and nothing but the
/// header was read. Memory used beyond the mapping: at most 16 times the header. Copies share the mapping.
class SafetensorsFile {
 public:
  /// Throws Error(bad_input) that names the file, the tensor, what was found and what was expected; Error(io) when the
  /// file cannot be opened.
  static SafetensorsFile open(const std::filesystem::path& path, Access access = Access::map);

  const std::filesystem::path& path() const;
  std::span<const TensorEntry> entries() const;  ///< in the order of their bytes
  const TensorEntry* find(std::string_view name) const;
  const Metadata& metadata() const;
  std::uint64_t file_bytes() const;

  /// Shares the ownership of the memory under all entries.
  Buffer keep_alive() const;
  /// Throws Error(bad_input) if the file has another size or time of change than when it was opened.
  void check_unchanged() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// The weights of a model directory: model.safetensors, or the shards named in model.safetensors.index.json.
class WeightFiles {
 public:
  /// Throws Error(bad_input) for a bad file or index (and for pytorch_model.bin alone: says how to convert it),
  /// Error(io) where there are no weights.
  static WeightFiles open(const std::filesystem::path& model_directory, Access access = Access::map);

  std::span<const TensorEntry* const> entries() const { return entries_; }  ///< file by file
  const TensorEntry* find(std::string_view name) const;
  std::vector<std::string> names() const;
  std::span<const SafetensorsFile> files() const { return files_; }
  /// The file that holds this entry, for messages.
  const std::filesystem::path& path_of(const TensorEntry& entry) const;
  /// Of the first file.
  const Metadata& metadata() const { return files_.front().metadata(); }
  /// Shares the ownership of the memory under the entries of all files.
  Buffer keep_alive() const;
  void check_unchanged() const;

 private:
  std::vector<SafetensorsFile> files_;
  std::vector<const TensorEntry*> entries_;
  std::vector<std::uint32_t> by_name_;
};

/// Throws Error(bad_input) that names file, tensor and position of the first NaN or infinity of a float tensor.
void require_finite(const TensorEntry& entry, const std::filesystem::path& path);

/// After this call a page of a mapped file that another process cut off ends this process with exit code 4 and a line
/// on stderr that names the file, instead of by SIGBUS. For programs, not for libraries: it takes over the handler of
/// SIGBUS (faults elsewhere go on to the handler that was there before).
void install_mapping_guard();

struct TensorToWrite {
  std::string name;
  ElementType type = ElementType::f32;
  std::vector<std::int64_t> shape;
  const void* data = nullptr;  ///< contiguous; may be null when the shape has a zero
};

/// Writes a file that every safetensors reader takes. The bytes depend on the arguments alone; tensors lie as given,
/// but those of wider elements first, so that each is aligned. Appears at `path` complete or not at all (temporary
/// file, fsync, rename). Throws Error(io) that names the path; a full disk leaves what was there before.
void write_safetensors(const std::filesystem::path& path, std::span<const TensorToWrite> tensors,
                       const Metadata& metadata = {{"format", "pt"}});

}  // namespace bertx
