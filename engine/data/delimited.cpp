#include "data/delimited.h"

namespace bertx::data {

DelimitedReader::DelimitedReader(const std::filesystem::path& path, Delimiter delimiter)
    : file_(path), delimiter_(delimiter) {}

bool DelimitedReader::next(std::vector<std::string>& fields) {
  while (file_.next(text_)) {
    if (text_.find_first_not_of(' ') == text_.npos) continue;
    row_line_ = file_.line();
    fields.clear();
    delimiter_ == Delimiter::tab ? split_tabs(fields) : split_commas(fields);
    if (width_ == 0 || fields.size() == width_ || (skip_short_ && fields.size() >= least_)) return true;
    if (!skip_short_) fail_here("found ", fields.size(), " field(s), expected ", width_);
    ++skipped_;
  }
  return false;
}

std::string& DelimitedReader::add_field(std::vector<std::string>& fields) const {
  if (width_ > 0 && fields.size() == width_) {
    fail_here("found more than ", width_, " fields, expected ", width_,
              delimiter_ == Delimiter::tab ? " (a tab too many?)" : " (a comma too many, or a text without quotes?)");
  }
  if (fields.size() == kMaxFields) fail_here("found more than ", kMaxFields, " columns, the most there may be");
  return fields.emplace_back();
}

void DelimitedReader::split_tabs(std::vector<std::string>& fields) {
  for (std::size_t at = 0;;) {
    const std::size_t end = text_.find('\t', at);
    add_field(fields).assign(text_, at, end == text_.npos ? text_.npos : end - at);
    if (end == text_.npos) return;
    at = end + 1;
  }
}

void DelimitedReader::split_commas(std::vector<std::string>& fields) {
  for (std::size_t at = 0;;) {
    std::string& field = add_field(fields);
    if (at < text_.size() && text_[at] == '"') {
      at = read_quoted(at, field);
      if (at == text_.size()) return;
      if (text_[at] != ',') {
        file_.fail_at(file_.line(), "byte ", at + 1, ", field ", fields.size(), ": found ",
                      quote(std::string_view(text_).substr(at, 20)),
                      " after a closing quote, expected a comma or the end of the line (a quote inside quotes is "
                      "written twice)");
      }
    } else {
      const std::size_t end = text_.find(',', at);
      field.assign(text_, at, end == text_.npos ? text_.npos : end - at);
      if (end == text_.npos) return;
      at = end;
    }
    ++at;
  }
}

// `at`: the opening quote. Returns the position after the closing one, in what is then the current line.
std::size_t DelimitedReader::read_quoted(std::size_t at, std::string& field) {
  const std::int64_t open_line = file_.line();
  const std::size_t open_byte = at + 1;
  for (++at;;) {
    const std::size_t quote = text_.find('"', at);
    if (quote == text_.npos) {
      field.append(text_, at).push_back('\n');
      if (!file_.next(text_)) {
        file_.fail_at(open_line, "byte ", open_byte, ": found a quote that is never closed, expected one more \"");
      }
      if (field.size() + text_.size() > kMaxLine) {
        file_.fail_at(open_line, "byte ", open_byte, ": found a quoted field of more than ", kMaxLine,
                      " bytes; is its quote closed?");
      }
      at = 0;
      continue;
    }
    field.append(text_, at, quote - at);
    at = quote + 1;
    if (at == text_.size() || text_[at] != '"') return at;
    field.push_back('"');
    ++at;
  }
}

}  // namespace bertx::data
