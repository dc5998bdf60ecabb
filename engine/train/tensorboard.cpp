#include "train/tensorboard.h"

#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstring>

#include "bertx/error.h"
#include "train/crc32c.h"

namespace bertx {
namespace {

// A field of a protobuf message begins with its number and wire type.
enum WireType : std::uint64_t { varint_type = 0, fixed64_type = 1, bytes_type = 2, fixed32_type = 5 };

void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 128; value >>= 7) out.push_back(static_cast<char>(value | 128));
  out.push_back(static_cast<char>(value));
}
template <class T>
void put_fixed(std::string& out, T value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  out.append(bytes, sizeof value);
}
void put_tag(std::string& out, std::uint64_t field, WireType type) { put_varint(out, field << 3 | type); }
void put_bytes(std::string& out, std::uint64_t field, std::string_view bytes) {
  put_tag(out, field, bytes_type);
  put_varint(out, bytes.size());
  out += bytes;
}

/// Event {double wall_time = 1; int64 step = 2; …}
std::string begin_event(std::int64_t step) {
  std::string event;
  put_tag(event, 1, fixed64_type);
  put_fixed(event, std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count());
  put_tag(event, 2, varint_type);
  put_varint(event, static_cast<std::uint64_t>(step));
  return event;
}

/// Summary {repeated Value value = 1}; Value {string tag = 1; float simple_value = 2}
std::string scalar(std::string_view tag, float value) {
  std::string message;
  put_bytes(message, 1, tag);
  put_tag(message, 2, fixed32_type);
  put_fixed(message, value);
  return message;
}

/// A record's checksum is stored rotated and shifted, so that a checksum of checksums stays one.
std::uint32_t masked(std::uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xA282EAD8u; }

}  // namespace

TensorBoardWriter::TensorBoardWriter(const std::filesystem::path& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  const auto now =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch());
  for (int number = 0; number == 0 || std::filesystem::exists(path_, error); ++number) {
    path_ = directory / text("events.out.tfevents.", now.count(), ".bertx.", getpid(), ".", number);
  }
  file_.open(path_, std::ios::binary);
  if (!file_) fail(ErrorKind::io, path_.string(), ": cannot be written");
  std::string event = begin_event(0);
  put_bytes(event, 3, "brain.Event:2");  // file_version
  write_record(event);
}

void TensorBoardWriter::add(std::int64_t step, const Figures& figures) {
  std::string summary;
  for (const auto& [name, value] : figures) {
    if (name == "step" || std::isnan(value)) continue;
    const std::string tag = name.starts_with("eval_") ? "eval/" + name.substr(5) : "train/" + name;
    put_bytes(summary, 1, scalar(tag, static_cast<float>(value)));
  }
  std::string event = begin_event(step);
  put_bytes(event, 5, summary);
  write_record(event);
}

// u64 length, its masked checksum, the bytes, their masked checksum
void TensorBoardWriter::write_record(std::string_view event) {
  std::string record;
  put_fixed(record, static_cast<std::uint64_t>(event.size()));
  put_fixed(record, masked(crc32c(record.data(), record.size())));
  record += event;
  put_fixed(record, masked(crc32c(event.data(), event.size())));
  file_.write(record.data(), static_cast<std::streamsize>(record.size()));
  file_.flush();
  if (!file_) fail(ErrorKind::io, path_.string(), ": cannot be written; the disk may be full");
}

}  // namespace bertx
