#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <climits>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

namespace penstock {
namespace {

constexpr std::size_t kMaxQueuedBytes = 8 << 20;
// How long a reader that does not read may hold up the end of the process.
constexpr std::chrono::seconds kFlushAtEnd{2};

std::uint64_t countLines(std::string_view text) {
  return static_cast<std::uint64_t>(std::count(text.begin(), text.end(), '\n'));
}

// /dev/stdout cannot be opened by name when it is a socket, so the descriptor is duplicated
// instead.
int openPath(const std::string& path, int flags) {
  if (path == "/dev/stdout") {
    return ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
  }
  if (path == "/dev/stderr") {
    return ::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
  }
  return ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | flags, 0640);
}

struct File {
  int fd;
  bool regular;
};

Result<File> openFile(const std::string& path, int flags = 0) {
  const int fd = openPath(path, flags);
  if (fd < 0) {
    return failure("cannot open " + path + " for appending: " + std::strerror(errno));
  }
  struct stat status{};
  return File{.fd = fd, .regular = ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode)};
}

// One thread writes what the others queue. The lock is held only to append or to take the queue,
// and the thread is woken only when it sleeps.
class FdLineSink final : public LineSink {
 public:
  FdLineSink(std::string path, File file) : path_(std::move(path)), file_(file) {
    // Signals are for the threads that expect them; with SIGPIPE blocked a closed pipe is just
    // EPIPE.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this] { run(); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  ~FdLineSink() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      give_up_at_ = std::chrono::steady_clock::now() + kFlushAtEnd;
    }
    wake_.notify_one();
    thread_.join();
    ::close(file_.fd);
    if (renewed_.has_value()) {
      ::close(renewed_->fd);
    }
  }

  void write(std::string lines) override {
    bool wake = false;
    {
      const std::lock_guard lock(mutex_);
      if (queued_.size() + being_written_ + lines.size() <= kMaxQueuedBytes) {
        if (queued_.empty()) {
          queued_ = std::move(lines);
        } else {
          queued_ += lines;
        }
        wake = std::exchange(asleep_, false);
      } else {
        dropped_.fetch_add(countLines(lines), std::memory_order_relaxed);
      }
    }
    if (wake) {
      wake_.notify_one();
    }
  }

  void flush() override {
    std::unique_lock lock(mutex_);
    written_.wait_for(lock, kFlushAtEnd, [this] { return queued_.empty() && being_written_ == 0; });
  }

  std::uint64_t dropped() const override { return dropped_.load(std::memory_order_relaxed); }

  Result<void> reopen() override {
    // A pipe that nobody reads would hold up the caller.
    const Result<File> file = openFile(path_, O_NONBLOCK);
    if (!file) {
      return std::unexpected(file.error());
    }
    std::optional<File> unused;
    {
      const std::lock_guard lock(mutex_);
      unused = std::exchange(renewed_, *file);
    }
    wake_.notify_one();
    if (unused.has_value()) {
      ::close(unused->fd);
    }
    return {};
  }

 private:
  void run() {
    std::string batch;
    std::optional<File> renewed;
    while (true) {
      batch.clear();
      {
        std::unique_lock lock(mutex_);
        being_written_ = 0;
        if (queued_.empty()) {
          written_.notify_all();
        }
        asleep_ = queued_.empty() && !stopping_;
        wake_.wait(lock, [this] { return stopping_ || !queued_.empty() || renewed_.has_value(); });
        asleep_ = false;
        if (queued_.empty() && stopping_) {
          return;
        }
        renewed = std::exchange(renewed_, std::nullopt);
        batch.swap(queued_);
        being_written_ = batch.size();
      }
      if (renewed.has_value()) {
        ::close(std::exchange(file_, *renewed).fd);
      }
      writeAll(batch);
    }
  }

  void writeAll(std::string_view rest) {
    while (!rest.empty()) {
      const std::string_view chunk = file_.regular ? rest : pipeChunk(rest);
      if (!file_.regular && !waitUntilWritable()) {
        break;
      }
      const ssize_t written = ::write(file_.fd, chunk.data(), chunk.size());
      if (written >= 0) {
        rest.remove_prefix(static_cast<std::size_t>(written));
      } else if (errno != EINTR && errno != EAGAIN) {
        break;
      }
    }
    dropped_.fetch_add(countLines(rest), std::memory_order_relaxed);
  }

  // A pipe that polls as writable takes PIPE_BUF bytes at once and whole, so that lines of several
  // writers do not mix; cut behind a line where one ends.
  static std::string_view pipeChunk(std::string_view rest) {
    if (rest.size() <= PIPE_BUF) {
      return rest;
    }
    const std::size_t newline = rest.rfind('\n', PIPE_BUF - 1);
    return rest.substr(0, newline == std::string_view::npos ? PIPE_BUF : newline + 1);
  }

  // false: nobody reads and the process is ending.
  bool waitUntilWritable() {
    pollfd entry{.fd = file_.fd, .events = POLLOUT, .revents = 0};
    while (true) {
      const int ready = ::poll(&entry, 1, 100);
      if (ready > 0) {
        return true;
      }
      const std::lock_guard lock(mutex_);
      if (stopping_ && std::chrono::steady_clock::now() >= give_up_at_) {
        return false;
      }
    }
  }

  const std::string path_;
  File file_;  // the thread's, once it runs
  std::atomic<std::uint64_t> dropped_{0};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable written_;
  std::string queued_;
  std::size_t being_written_ = 0;
  bool asleep_ = false;
  bool stopping_ = false;
  std::optional<File> renewed_;  // to be written to from the next batch on
  std::chrono::steady_clock::time_point give_up_at_{};
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<LineSink>> LineSink::open(const std::string& path) {
  const Result<File> file = openFile(path);
  if (!file) {
    return std::unexpected(file.error());
  }
  return std::make_unique<FdLineSink>(path, *file);
}

}  // namespace penstock
