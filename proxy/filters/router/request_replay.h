#pragma once

#include <cstddef>
#include <utility>

#include "net/buffer.h"

namespace penstock::proxy {

// Whether a request's body can be sent a second time, and the copy that this takes.
//   untouched → copy kept  a piece went out, and a copy of it is here
//   untouched → gone       a piece went out after the answer had begun
//   copy kept → gone       the copy would be larger than its limit, or the answer has begun
//   copy kept → untouched  restore()
// A copy is kept of a whole body, and of the beginning of one that goes out as it comes as long as
// that fits the limit.
class RequestReplay {
 public:
  bool isWhole() const { return state_ != State::kGone; }
  bool keepsCopy() const { return state_ == State::kCopyKept; }
  std::size_t size() const { return copy_.size(); }

  // Before a piece goes out. last: of a body that is complete.
  void keep(const net::Buffer& piece, bool last, std::size_t limit, bool answer_has_begun) {
    if (state_ == State::kUntouched && !answer_has_begun) {
      state_ = State::kCopyKept;
    }
    if (state_ == State::kCopyKept && (last || copy_.size() + piece.size() <= limit)) {
      piece.copyTo(copy_);
    } else {
      state_ = State::kGone;
      copy_.clear();
    }
  }
  // No second attempt will be made.
  void drop() {
    state_ = state_ == State::kCopyKept ? State::kGone : state_;
    copy_.clear();
  }
  // Makes the copy the body again, for another attempt. Only while it is whole.
  void restore(net::Buffer& body) {
    if (state_ == State::kCopyKept) {
      body = std::exchange(copy_, {});
      state_ = State::kUntouched;
    }
  }

 private:
  enum class State { kUntouched, kCopyKept, kGone };
  State state_ = State::kUntouched;
  net::Buffer copy_;
};

}  // namespace penstock::proxy
