#include "model_runtime/python/body_file.h"

#include <cerrno>
#include <cstring>

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace penstock::runtime {
namespace {

std::unexpected<Error> systemFailure(const char* what) {
  return failure(std::string(what) + ": " + std::strerror(errno));
}

}  // namespace

Result<net::UniqueFd> writeBodyFile(std::string_view body) {
  net::UniqueFd file(::memfd_create("penstock-body", MFD_CLOEXEC));
  if (!file.valid()) {
    return systemFailure("cannot make a file in memory");
  }
  while (!body.empty()) {
    const ssize_t written = ::write(file.get(), body.data(), body.size());
    if (written < 0 && errno != EINTR) {
      return systemFailure("cannot write a body into memory");
    }
    body.remove_prefix(written < 0 ? 0 : static_cast<std::size_t>(written));
  }
  return file;
}

Result<std::string> readBodyFile(const net::UniqueFd& file, std::size_t max_bytes) {
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) {
    return systemFailure("cannot look at a body's file");
  }
  if (!S_ISREG(status.st_mode) || static_cast<std::size_t>(status.st_size) > max_bytes) {
    return failure("expected a body of at most " + std::to_string(max_bytes) + " bytes, got " +
                   std::to_string(status.st_size));
  }
  std::string body;
  std::size_t done = 0;
  int error = 0;
  body.resize_and_overwrite(
      static_cast<std::size_t>(status.st_size), [&](char* bytes, std::size_t size) {
        while (done < size) {
          const ssize_t count =
              ::pread(file.get(), bytes + done, size - done, static_cast<off_t>(done));
          if (count == 0 || (count < 0 && errno != EINTR)) {
            error = count == 0 ? EIO : errno;
            break;
          }
          done += count < 0 ? 0 : static_cast<std::size_t>(count);
        }
        return done;
      });
  if (error != 0) {
    return failure(std::string("cannot read a body from memory: ") + std::strerror(error));
  }
  return body;
}

}  // namespace penstock::runtime
