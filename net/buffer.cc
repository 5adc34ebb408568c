#include "net/buffer.h"

#include <algorithm>
#include <array>
#include <utility>

#include <event2/buffer.h>
#include <sys/uio.h>

#include "base/check.h"

namespace penstock::net {

namespace {

// Below this a piece is copied: a chain link of libevent costs about a kilobyte whatever it holds.
constexpr std::size_t kWorthMoving = 2048;

evbuffer* ensure(evbuffer*& buffer) {
  if (buffer == nullptr) {
    buffer = evbuffer_new();
    PENSTOCK_CHECK(buffer != nullptr, "there is memory for a buffer");
  }
  return buffer;
}

void add(evbuffer* buffer, const void* bytes, std::size_t count) {
  PENSTOCK_CHECK(evbuffer_add(buffer, bytes, count) == 0, "there is memory for a buffer's bytes");
}

}  // namespace

Buffer::~Buffer() {
  if (buffer_ != nullptr) {
    evbuffer_free(buffer_);
  }
}

Buffer::Buffer(Buffer&& other) noexcept : buffer_(std::exchange(other.buffer_, nullptr)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(buffer_, other.buffer_);
  other.clear();
  return *this;
}

std::size_t Buffer::size() const {
  return buffer_ == nullptr ? 0 : evbuffer_get_length(buffer_);
}

void Buffer::append(std::string_view bytes) {
  if (!bytes.empty()) {
    add(ensure(buffer_), bytes.data(), bytes.size());
  }
}

void Buffer::take(std::string bytes) {
  if (bytes.size() < kWorthMoving) {
    append(bytes);
    return;
  }
  auto* kept = new std::string(std::move(bytes));
  const int added = evbuffer_add_reference(
      ensure(buffer_), kept->data(), kept->size(),
      [](const void*, std::size_t, void* string) { delete static_cast<std::string*>(string); },
      kept);
  PENSTOCK_CHECK(added == 0, "there is memory for a buffer's bytes");
}

void Buffer::append(std::span<const std::uint8_t> bytes) {
  if (!bytes.empty()) {
    add(ensure(buffer_), bytes.data(), bytes.size());
  }
}

void Buffer::append(Buffer& other) {
  PENSTOCK_CHECK(&other != this, "a buffer is not moved into itself");
  if (empty()) {
    std::swap(buffer_, other.buffer_);
    return;
  }
  other.moveTo(*this, other.size());
}

void Buffer::moveTo(Buffer& to, std::size_t count) {
  PENSTOCK_CHECK(&to != this, "a buffer is not moved into itself");
  std::size_t left = std::min(count, size());
  while (left > 0) {
    const std::span<const std::uint8_t> piece = front();
    const std::size_t taken = std::min(left, piece.size());
    if (taken < kWorthMoving) {
      to.append(piece.first(taken));
      evbuffer_drain(buffer_, taken);
    } else {
      const int moved = evbuffer_remove_buffer(buffer_, ensure(to.buffer_), taken);
      PENSTOCK_CHECK(std::cmp_equal(moved, taken), "bytes that are there can be moved");
    }
    left -= taken;
  }
}

void Buffer::copyTo(Buffer& to) const {
  PENSTOCK_CHECK(&to != this, "a buffer is not copied into itself");
  if (empty()) {
    return;
  }
  evbuffer_ptr position;
  evbuffer_ptr_set(buffer_, &position, 0, EVBUFFER_PTR_SET);
  evbuffer_iovec piece;
  while (evbuffer_peek(buffer_, -1, &position, &piece, 1) > 0) {
    add(ensure(to.buffer_), piece.iov_base, piece.iov_len);
    if (evbuffer_ptr_set(buffer_, &position, piece.iov_len, EVBUFFER_PTR_ADD) != 0) {
      break;
    }
  }
}

void Buffer::drain(std::size_t count) {
  if (count == 0 || buffer_ == nullptr) {
    return;
  }
  evbuffer_drain(buffer_, std::min(count, size()));
}

void Buffer::read(std::span<std::uint8_t> destination) {
  PENSTOCK_CHECK(destination.size() <= size(), "no more is read than the buffer holds");
  if (!destination.empty()) {
    evbuffer_remove(buffer_, destination.data(), destination.size());
  }
}

std::span<const std::uint8_t> Buffer::front() const {
  evbuffer_iovec piece;
  if (empty() || evbuffer_peek(buffer_, -1, nullptr, &piece, 1) < 1) {
    return {};
  }
  return {static_cast<const std::uint8_t*>(piece.iov_base), piece.iov_len};
}

int Buffer::pieces(iovec* pieces, int max) const {
  if (empty()) {
    return 0;
  }
  return std::min(max, evbuffer_peek(buffer_, -1, nullptr, pieces, max));
}

std::string_view Buffer::linearize() {
  if (empty()) {
    return {};
  }
  const auto* bytes = evbuffer_pullup(buffer_, -1);
  PENSTOCK_CHECK(bytes != nullptr, "there is memory for a contiguous copy");
  return {reinterpret_cast<const char*>(bytes), size()};
}

std::string Buffer::toString() const {
  std::string text(size(), '\0');
  if (!text.empty()) {
    evbuffer_copyout(buffer_, text.data(), text.size());
  }
  return text;
}

}  // namespace penstock::net
