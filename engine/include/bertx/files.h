// Files, directories and numbers as text: read with limits, written completely or not at all, the same in any locale.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace bertx {

// ---- text of files ----------------------------------------------------------------------------------------------

/// The bytes of a regular file. Throws Error(io) when it cannot be opened or read, Error(bad_input) when it is a
/// directory, FIFO or device, or longer than `max_bytes`.
std::string read_text_file(const std::filesystem::path& path, std::uint64_t max_bytes);

/// Writes the bytes so that `path` holds either the old content or all of the new one (temporary file, fsync, rename).
void write_text_file(const std::filesystem::path& path, std::string_view bytes);

enum class TextEncoding : std::uint8_t { utf8, utf8_bom, utf16_le, utf16_be, utf32 };

/// By the byte order mark; without one, zeros in every second byte at the beginning mean UTF-16.
TextEncoding detect_encoding(std::string_view bytes);
std::string_view name_of(TextEncoding encoding);  ///< "UTF-8", "UTF-8 with a byte order mark", …

/// Untrusted text for a message (not "quoted": for a std::string std::quoted would win): in double quotes, control
/// characters and malformed UTF-8 as \xNN, at most `max_bytes` of it.
std::string quote(std::string_view untrusted, std::size_t max_bytes = 80);

// ---- numbers ----------------------------------------------------------------------------------------------------

/// The whole text is one finite number ("1e-5", "+3", "0.5"), whatever the locale; else nothing.
std::optional<double> parse_double(std::string_view text);
/// The whole text is one decimal integer that fits; else nothing.
std::optional<std::int64_t> parse_int(std::string_view text);
std::optional<std::uint64_t> parse_unsigned(std::string_view text);

/// The shortest text that reads back as the same number.
std::string number_text(double value);
std::string number_text(float value);

// ---- directories ------------------------------------------------------------------------------------------------

/// A directory as it is named, else the snapshot of a model in the Hugging Face cache ("org/name" or "name"): in
/// $HF_HUB_CACHE, else $HF_HOME/hub, else ~/.cache/huggingface/hub. Throws Error(io) naming every place looked at.
std::filesystem::path resolve_model_directory(const std::string& name_or_path);

/// What becomes of the files of a directory that is written again.
enum class Existing : std::uint8_t {
  replace,  ///< they go; only an empty directory or one with a config.json or trainer_state.json is replaced
  merge,    ///< those that the new directory lacks stay
};

/// A directory that appears at its target complete or not at all. Files are written into path(), a temporary sibling
/// on the same file system; commit() syncs them and exchanges the directories in one step, so that kill -9 at any
/// moment leaves the old or the new one. What was not committed goes with the writer; what a killed process left is
/// removed by the next writer to that target. Of two writers to one target the later commit wins, whole.
class DirectoryWriter {
 public:
  /// Creates missing parents. Throws Error(io) when nothing can be written there, Error(usage) when `replace` would
  /// take away a directory that is not a model's or a checkpoint's.
  explicit DirectoryWriter(const std::filesystem::path& target, Existing existing = Existing::replace);
  ~DirectoryWriter();
  DirectoryWriter(const DirectoryWriter&) = delete;
  DirectoryWriter& operator=(const DirectoryWriter&) = delete;

  const std::filesystem::path& path() const { return temporary_; }
  const std::filesystem::path& target() const { return target_; }
  /// Once; Error(io) leaves the target as it was.
  void commit();

 private:
  std::filesystem::path target_, temporary_;
  Existing existing_;
  int lock_ = -1;  ///< descriptor of temporary_, locked while this writer lives
};

/// Removes what writers killed before their commit left beside `target`. Writers that live are not touched.
void remove_stale_temporaries(const std::filesystem::path& target);

}  // namespace bertx
