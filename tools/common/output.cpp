#include "common/output.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "bertx/error.h"
#include "bertx/files.h"
#include "bertx/signals.h"

namespace bertx::tools {

void guard_standard_descriptors() {
  for (int descriptor = 0; descriptor <= 2; ++descriptor) {
    if (::fcntl(descriptor, F_GETFD) != -1 || errno != EBADF) continue;
    // open() takes the lowest free number, which is this one. Read-only: a write still fails.
    if (::open("/dev/null", O_RDONLY) < 0) return;
  }
  std::signal(SIGPIPE, SIG_IGN);
}

void complain(std::string_view who, std::string_view what) {
  const std::string message = std::string(who) + ": error: " + std::string(what) + "\n";
  const char* at = message.data();
  for (std::size_t left = message.size(); left > 0;) {
    const ssize_t written = ::write(2, at, left);
    if (written <= 0) return;
    at += written;
    left -= static_cast<std::size_t>(written);
  }
}

// --- Output ---------------------------------------------------------------------------------------------------

void Output::write(std::string_view text) {
  pending_ += text;
  if (pending_.size() >= 1u << 16) flush();
}

void Output::line(std::string_view text) {
  pending_ += text;
  write("\n");
}

void Output::flush() {
  std::size_t done = 0;
  while (done < pending_.size()) {
    const ssize_t written = ::write(1, pending_.data() + done, pending_.size() - done);
    if (written >= 0) {
      done += static_cast<std::size_t>(written);
    } else if (errno == EPIPE) {
      throw ClosedPipe();
    } else if (errno != EINTR) {
      fail(ErrorKind::io, "standard output: cannot write: ", std::strerror(errno));
    }
  }
  pending_.clear();
}

// --- LineReader -----------------------------------------------------------------------------------------------

namespace {
constexpr std::size_t kLongestLine = 16u << 20, kChunk = 1u << 16;
}

LineReader::LineReader(const std::string& path) : name_(path == "-" ? "standard input" : path) {
  if (path == "-") return;
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0) fail(ErrorKind::io, name_, ": cannot open: ", std::strerror(errno));
  struct stat status {};
  if (::fstat(descriptor_, &status) == 0 && S_ISDIR(status.st_mode)) {
    ::close(descriptor_);
    fail(ErrorKind::bad_input, name_, ": found a directory; expected a file of texts, one a line");
  }
}

LineReader::~LineReader() {
  if (descriptor_ != 0) ::close(descriptor_);
}

bool LineReader::next(std::string& line) {
  for (;;) {
    const std::size_t end = buffer_.find('\n', searched_);
    const bool last = end == std::string::npos;
    if (!last || ended_) {
      const std::size_t stop = last ? buffer_.size() : end;
      if (last && stop == begin_) return false;
      line.assign(buffer_, begin_, stop - begin_);
      if (!line.empty() && line.back() == '\r') line.pop_back();
      begin_ = searched_ = last ? stop : stop + 1;
      ++lines_;
      return true;
    }
    searched_ = buffer_.size();
    if (searched_ - begin_ > kLongestLine) {
      fail(ErrorKind::bad_input, name_, ": line ", lines_ + 1, ": found more than ", kLongestLine >> 20,
           " MiB without a line end; expected a text");
    }
    if (!fill()) ended_ = true;
  }
}

bool LineReader::ready() {
  while (!ended_ && buffer_.find('\n', searched_) == std::string::npos) {
    searched_ = buffer_.size();
    if (searched_ - begin_ > kLongestLine) return true;  // next() complains
    pollfd wanted{descriptor_, POLLIN, 0};
    if (::poll(&wanted, 1, 0) <= 0) return false;
    if (!fill()) ended_ = true;
  }
  return true;
}

/// Reads what is there, waiting for something; false at the end.
bool LineReader::fill() {
  buffer_.erase(0, begin_);
  searched_ -= begin_;
  begin_ = 0;
  const std::size_t size = buffer_.size();
  buffer_.resize(size + kChunk);
  for (;;) {
    const ssize_t got = ::read(descriptor_, buffer_.data() + size, kChunk);
    if (got < 0 && errno == EINTR && pending_signal() == 0) continue;
    buffer_.resize(size + static_cast<std::size_t>(got > 0 ? got : 0));
    if (got < 0 && errno != EINTR) fail(ErrorKind::io, name_, ": cannot read: ", std::strerror(errno));
    return got > 0;
  }
}

}  // namespace bertx::tools
