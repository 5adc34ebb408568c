#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/result.h"
#include "net/unique_fd.h"

namespace penstock::runtime {

// A file in memory (memfd) with a word for each lane of a worker, in which the worker notes the
// request that the lane begins, and which outlives the worker. It is read, not mapped: whatever the
// worker does to the file, nobody here trips over it.
class LaneMemory {
 public:
  static Result<LaneMemory> make(std::size_t lanes);

  // The worker's end.
  Result<net::UniqueFd> share() const;
  // The ids that are noted. Whether there are such requests is for the caller to look at.
  std::vector<std::uint64_t> ids() const;

 private:
  LaneMemory(net::UniqueFd file, std::size_t lanes);

  net::UniqueFd file_;
  std::size_t lanes_;
};

}  // namespace penstock::runtime
