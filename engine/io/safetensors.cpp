// An open safetensors file: mapped memory, checked entries, and what happens when the file changes underneath.
#include "bertx/safetensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "bertx/error.h"
#include "bertx/files.h"
#include "io/mapping_guard.h"
#include "io/posix.h"
#include "io/safetensors_header.h"

namespace bertx {
namespace {

bool same_time(const timespec& a, const timespec& b) { return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec; }

}  // namespace

struct SafetensorsFile::State {
  std::filesystem::path path;
  std::string guard_text;  ///< what the mapping guard says; must not move while the mapping is registered
  Descriptor descriptor;   ///< open as long as the mapping, so that changes are seen even after a rename
  struct stat opened {};
  std::byte* base = nullptr;
  std::size_t bytes = 0;
  bool guarded = false;
  SafetensorsHeader header;
  std::vector<std::unique_ptr<void, void (*)(void*)>> aligned;  ///< copies of misaligned tensors

  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (guarded) unguard_mapping(base);
    if (base) ::munmap(base, bytes);
  }

  void map(Access access) {
    bytes = static_cast<std::size_t>(opened.st_size);
    // PROT_WRITE on a private mapping: training may update weights in place; the kernel copies the pages it touches.
    const bool mapped = access == Access::map;
    const int flags = MAP_PRIVATE | (mapped ? 0 : MAP_ANONYMOUS);
    void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, mapped ? descriptor.get() : -1, 0);
    if (memory == MAP_FAILED) {
      const int error = errno;
      fail(error == ENOMEM ? ErrorKind::out_of_memory : ErrorKind::io, shown(path), ": cannot map ", bytes,
           " bytes into memory: ", system_text(error));
    }
    base = static_cast<std::byte*>(memory);
    if (mapped) {
      guard_text = "bertx: error: " + shown(path) +
                   ": found a file that became shorter while it was in use, expected " + std::to_string(bytes) +
                   " bytes\n";
      guarded = guard_mapping(base, bytes, guard_text.c_str());
      return;
    }
    const std::size_t got = read_at(descriptor.get(), base, bytes, 0, path);
    if (got != bytes) {
      fail(ErrorKind::bad_input, shown(path), ": found ", got, " bytes, expected ", bytes,
           ": the file became shorter while it was read");
    }
  }

  /// A header that is not a multiple of the element size puts tensors on odd addresses. Old writers made such files;
  /// those tensors are copied once, so that nobody else has to care.
  void align() {
    for (TensorEntry& entry : header.entries) {
      const std::size_t size = size_of(entry.type);
      if (entry.bytes == 0 || reinterpret_cast<std::uintptr_t>(entry.data) % size == 0) continue;
      void* copy = std::aligned_alloc(64, (entry.bytes + 63) / 64 * 64);
      if (!copy) {
        fail(ErrorKind::out_of_memory, shown(path), ": tensor ", quote(entry.name), ": cannot allocate ", entry.bytes,
             " bytes for an aligned copy");
      }
      aligned.emplace_back(copy, std::free);
      std::memcpy(copy, entry.data, entry.bytes);
      entry.data = copy;
    }
  }
};

SafetensorsFile SafetensorsFile::open(const std::filesystem::path& path, Access access) {
  auto state = std::make_shared<State>();
  state->path = path;
  state->descriptor = open_regular(path, state->opened);
  if (state->opened.st_size == 0) read_safetensors_header({}, shown(path));  // fails; mmap takes no empty file
  state->map(access);
  SafetensorsFile file;
  file.state_ = state;
  if (access == Access::map) file.check_unchanged();
  state->header = read_safetensors_header({state->base, state->bytes}, shown(path));
  state->align();
  return file;
}

const std::filesystem::path& SafetensorsFile::path() const { return state_->path; }
std::span<const TensorEntry> SafetensorsFile::entries() const { return state_->header.entries; }
const Metadata& SafetensorsFile::metadata() const { return state_->header.metadata; }
std::uint64_t SafetensorsFile::file_bytes() const { return state_->bytes; }
Buffer SafetensorsFile::keep_alive() const { return {std::shared_ptr<void>(state_, state_->base), state_->bytes}; }

const TensorEntry* SafetensorsFile::find(std::string_view name) const {
  return find_by_name(state_->header.entries, state_->header.by_name, name);
}

void SafetensorsFile::check_unchanged() const {
  struct stat now {};
  if (::fstat(state_->descriptor.get(), &now) != 0) {
    fail(ErrorKind::io, shown(state_->path), ": cannot stat: ", system_text(errno));
  }
  if (now.st_size != state_->opened.st_size || !same_time(now.st_mtim, state_->opened.st_mtim)) {
    fail(ErrorKind::bad_input, shown(state_->path), ": found ", now.st_size,
         " bytes, changed since it was opened with ", state_->opened.st_size,
         "; expected a file that nobody writes to");
  }
}

}  // namespace bertx
