#include "model_runtime/python/lane_memory.h"

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace penstock::runtime {

LaneMemory::LaneMemory(net::UniqueFd file, std::size_t lanes)
    : file_(std::move(file)), lanes_(lanes) {}

Result<LaneMemory> LaneMemory::make(std::size_t lanes) {
  net::UniqueFd file(::memfd_create("penstock-lanes", MFD_CLOEXEC));
  if (!file.valid() ||
      ::ftruncate(file.get(), static_cast<off_t>(lanes * sizeof(std::uint64_t))) != 0) {
    return failure(std::string("cannot make memory for the lanes: ") + std::strerror(errno));
  }
  return LaneMemory(std::move(file), lanes);
}

Result<net::UniqueFd> LaneMemory::share() const {
  net::UniqueFd copy(::fcntl(file_.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy.valid()) {
    return failure(std::string("cannot share the lanes' memory: ") + std::strerror(errno));
  }
  return copy;
}

std::vector<std::uint64_t> LaneMemory::ids() const {
  std::vector<std::uint64_t> words(lanes_);
  const ssize_t read = ::pread(file_.get(), words.data(), lanes_ * sizeof words[0], 0);
  words.resize(read < 0 ? 0 : static_cast<std::size_t>(read) / sizeof words[0]);
  std::erase(words, 0u);
  return words;
}

}  // namespace penstock::runtime
