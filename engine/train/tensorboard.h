// Scalars for TensorBoard: an event file of TFRecords, each a protobuf message `Event`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "bertx/train.h"

namespace bertx {

class TensorBoardWriter {
 public:
  /// Opens a new events.out.tfevents.… in `directory`, which is made. Throws Error(io).
  explicit TensorBoardWriter(const std::filesystem::path& directory);
  /// "eval_x" becomes "eval/x", anything else "train/x"; flushed, so that a viewer sees it at once.
  void add(std::int64_t step, const Figures& figures);
  const std::filesystem::path& path() const { return path_; }

 private:
  void write_record(std::string_view event);

  std::filesystem::path path_;
  std::ofstream file_;
};

}  // namespace bertx
