#include "model_runtime/python/channel.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include <sys/socket.h>
#include <sys/uio.h>

namespace penstock::runtime {
namespace {

constexpr std::size_t kBufferBytes = kFrameHeaderBytes + kMaxPayloadBytes;
// What one turn reads at most, so that a worker that never stops talking does not starve the rest.
constexpr std::size_t kBytesPerTurn = 4 * kBufferBytes;
constexpr std::size_t kDescriptorsPerRead = 16;
// Each comes with its frame, so that one at most waits for the rest of it.
constexpr std::size_t kMostDescriptors = 2 * kDescriptorsPerRead;

}  // namespace

Channel::Channel(net::EventLoop& loop, net::UniqueFd socket, Handler& handler)
    : socket_(std::move(socket)),
      handler_(handler),
      in_(kBufferBytes),
      flush_(loop, [this] { flush(); }),
      watch_(loop, socket_.get(), [this](net::FdWatch::Ready ready) { onReady(ready); }) {
  watch_.set(true, false);
}

std::string& Channel::out() {
  flush_.schedule();
  if (pieces_.empty()) {
    pieces_.emplace_back();
  }
  return pieces_.back().bytes;
}

std::string& Channel::out(net::UniqueFd descriptor) {
  flush_.schedule();
  return pieces_.emplace_back(Piece{.bytes = {}, .descriptor = std::move(descriptor)}).bytes;
}

void Channel::onReady(net::FdWatch::Ready ready) {
  if (ready.writable) {
    flush();
  }
  if (ready.readable && !closed_) {
    read();
  }
}

void Channel::hangUp() {
  ::shutdown(socket_.get(), SHUT_WR);
}

void Channel::finish() {
  if (!closed_) {
    read();
  }
}

void Channel::read() {
  for (std::size_t taken = 0; taken < kBytesPerTurn && !closed_;) {
    const std::size_t before = in_end_;
    if (!receive()) {
      return;
    }
    taken += in_end_ - before;
    if (!takeFrames()) {
      return;
    }
  }
}

// False when there is nothing more for now, or for ever.
bool Channel::receive() {
  iovec piece{in_.data() + in_end_, in_.size() - in_end_};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kDescriptorsPerRead * sizeof(int))> control;
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t count = ::recvmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (count < 0) {
    if (errno != EAGAIN && errno != EINTR) {
      close({});
    }
    return errno == EINTR;
  }
  const std::size_t before = descriptors_.size();
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr;
       part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) {
      continue;
    }
    for (std::size_t i = 0; CMSG_LEN((i + 1) * sizeof(int)) <= part->cmsg_len; ++i) {
      int descriptor = -1;
      std::memcpy(&descriptor, CMSG_DATA(part) + i * sizeof(int), sizeof descriptor);
      descriptors_.emplace_back(descriptor);
    }
  }
  if (count == 0) {
    close({});
    return false;
  }
  if ((message.msg_flags & MSG_CTRUNC) != 0 && descriptors_.size() == before) {
    // This process has no descriptor left: the body is lost, and its frame is not.
    descriptors_.emplace_back();
  }
  if (descriptors_.size() > kMostDescriptors) {
    close("it sent more descriptors than frames");
    return false;
  }
  in_end_ += static_cast<std::size_t>(count);
  return true;
}

// False once closed.
bool Channel::takeFrames() {
  while (in_end_ - in_begin_ >= kFrameHeaderBytes) {
    PayloadReader header({in_.data() + in_begin_, kFrameHeaderBytes});
    const auto size = header.number<std::uint32_t>();
    Frame frame{.type = static_cast<FrameType>(header.number<std::uint8_t>()),
                .flags = header.number<std::uint8_t>(),
                .id = (header.number<std::uint16_t>(), header.number<std::uint64_t>()),
                .payload = {},
                .body = {}};
    if (size > kMaxPayloadBytes) {
      close("it sent a frame of " + std::to_string(size) + " bytes");
      return false;
    }
    if (in_end_ - in_begin_ - kFrameHeaderBytes < size) {
      break;
    }
    frame.payload = {in_.data() + in_begin_ + kFrameHeaderBytes, size};
    in_begin_ += kFrameHeaderBytes + size;
    if ((frame.flags & kFlagDescriptor) != 0) {
      if (descriptors_.empty()) {
        close("it sent a frame without the descriptor that it announced");
        return false;
      }
      frame.body = std::move(descriptors_.front());
      descriptors_.pop_front();
    }
    const std::string wrong = handler_.onFrame(frame);
    if (!wrong.empty()) {
      close(wrong);
    }
    if (closed_) {
      return false;
    }
  }
  std::memmove(in_.data(), in_.data() + in_begin_, in_end_ - in_begin_);
  in_end_ -= std::exchange(in_begin_, 0);
  return true;
}

void Channel::flush() {
  if (closed_) {
    pieces_.clear();
    return;
  }
  while (!pieces_.empty()) {
    Piece& piece = pieces_.front();
    iovec bytes{piece.bytes.data() + written_, piece.bytes.size() - written_};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    msghdr message{};
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    if (piece.descriptor.valid()) {
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      cmsghdr* part = CMSG_FIRSTHDR(&message);
      part->cmsg_level = SOL_SOCKET;
      part->cmsg_type = SCM_RIGHTS;
      part->cmsg_len = CMSG_LEN(sizeof(int));
      const int descriptor = piece.descriptor.get();
      std::memcpy(CMSG_DATA(part), &descriptor, sizeof descriptor);
    }
    const ssize_t count = ::sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      // Whatever else is wrong shows when reading.
      watch_.set(true, errno == EAGAIN);
      return;
    }
    piece.descriptor.reset();
    written_ += static_cast<std::size_t>(count);
    if (written_ == piece.bytes.size()) {
      pieces_.pop_front();
      written_ = 0;
    }
  }
  watch_.set(true, false);
}

void Channel::close(std::string_view broken) {
  closed_ = true;
  watch_.set(false, false);
  pieces_.clear();
  written_ = 0;
  handler_.onChannelClosed(broken);
}

}  // namespace penstock::runtime
