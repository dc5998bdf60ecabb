// Rows of a CSV or TSV file.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/text_file.h"

namespace bertx::data {

enum class Delimiter : char { comma = ',', tab = '\t' };

/// With commas RFC 4180 holds: a field in quotes may contain commas, line breaks and doubled quotes; a quote inside an
/// unquoted field is text. With tabs a quote is always text.
class DelimitedReader {
 public:
  DelimitedReader(const std::filesystem::path& path, Delimiter delimiter);

  /// The fields of the next row that is not blank; false at the end. Throws Error(bad_input) where the row does not
  /// have the width that was set, or its quotes do not match.
  bool next(std::vector<std::string>& fields);

  /// From now on every row has `width` fields. With `skip_short`, rows with fewer than `least` are passed over and the
  /// others may be short of `width`.
  void set_width(std::size_t width) { width_ = least_ = width; }
  void skip_rows_shorter_than(std::size_t least) { least_ = least, skip_short_ = true; }

  /// Where the last row began.
  std::int64_t line() const { return row_line_; }
  std::int64_t skipped() const { return skipped_; }
  const TextFile& file() const { return file_; }

  template <class... Parts>
  [[noreturn]] void fail_here(const Parts&... parts) const {
    file_.fail_at(row_line_, parts...);
  }

 private:
  void split_tabs(std::vector<std::string>& fields);
  void split_commas(std::vector<std::string>& fields);
  std::size_t read_quoted(std::size_t at, std::string& field);
  std::string& add_field(std::vector<std::string>& fields) const;

  TextFile file_;
  Delimiter delimiter_;
  std::string text_;
  std::size_t width_ = 0, least_ = 0;  // 0: not yet known
  bool skip_short_ = false;
  std::int64_t row_line_ = 0, skipped_ = 0;
};

}  // namespace bertx::data
