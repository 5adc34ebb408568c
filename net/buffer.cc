#include "net/buffer.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <event2/buffer.h>
#include <sys/uio.h>

#include "base/check.h"

namespace penstock::net {

namespace {

// Below this a piece is copied: a chain link of libevent costs about a kilobyte whatever it holds.
constexpr std::size_t kWorthMoving = 2048;

void add(evbuffer* buffer, const void* bytes, std::size_t count) {
  PENSTOCK_CHECK(evbuffer_add(buffer, bytes, count) == 0, "there is memory for a buffer's bytes");
}

}  // namespace

Buffer::~Buffer() {
  if (buffer_ != nullptr) {
    evbuffer_free(buffer_);
  }
}

Buffer::Buffer(Buffer&& other) noexcept {
  swap(other);
}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  swap(other);
  other.clear();
  return *this;
}

void Buffer::swap(Buffer& other) noexcept {
  std::swap(buffer_, other.buffer_);
  std::swap(inside_size_, other.inside_size_);
  // Whole, not byte by byte as std::swap() does.
  const auto mine = inside_;
  inside_ = other.inside_;
  other.inside_ = mine;
}

std::size_t Buffer::size() const {
  return buffer_ == nullptr ? inside_size_ : evbuffer_get_length(buffer_);
}

evbuffer* Buffer::outside() {
  if (buffer_ == nullptr) {
    buffer_ = evbuffer_new();
    PENSTOCK_CHECK(buffer_ != nullptr, "there is memory for a buffer");
    if (inside_size_ > 0) {
      add(buffer_, inside_.data(), std::exchange(inside_size_, std::uint8_t{0}));
    }
  }
  return buffer_;
}

void Buffer::append(const void* bytes, std::size_t count) {
  if (count == 0) {
    return;
  }
  if (buffer_ == nullptr && count <= kInside - inside_size_) {
    std::memcpy(inside_.data() + inside_size_, bytes, count);
    inside_size_ = static_cast<std::uint8_t>(inside_size_ + count);
  } else {
    add(outside(), bytes, count);
  }
}

void Buffer::append(std::string_view bytes) {
  append(bytes.data(), bytes.size());
}

void Buffer::take(std::string bytes) {
  if (bytes.size() < kWorthMoving) {
    append(bytes);
    return;
  }
  auto* kept = new std::string(std::move(bytes));
  const int added = evbuffer_add_reference(
      outside(), kept->data(), kept->size(),
      [](const void*, std::size_t, void* string) { delete static_cast<std::string*>(string); },
      kept);
  PENSTOCK_CHECK(added == 0, "there is memory for a buffer's bytes");
}

void Buffer::append(std::span<const std::uint8_t> bytes) {
  append(bytes.data(), bytes.size());
}

void Buffer::append(Buffer& other) {
  PENSTOCK_CHECK(&other != this, "a buffer is not moved into itself");
  if (empty()) {
    swap(other);
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
      drain(taken);
    } else {
      const int moved = evbuffer_remove_buffer(buffer_, to.outside(), taken);
      PENSTOCK_CHECK(std::cmp_equal(moved, taken), "bytes that are there can be moved");
    }
    left -= taken;
  }
}

void Buffer::copyTo(Buffer& to) const {
  PENSTOCK_CHECK(&to != this, "a buffer is not copied into itself");
  if (buffer_ == nullptr) {
    to.append(inside_.data(), inside_size_);
    return;
  }
  if (empty()) {
    return;
  }
  evbuffer_ptr position;
  evbuffer_ptr_set(buffer_, &position, 0, EVBUFFER_PTR_SET);
  evbuffer_iovec piece;
  while (evbuffer_peek(buffer_, -1, &position, &piece, 1) > 0) {
    to.append(piece.iov_base, piece.iov_len);
    if (evbuffer_ptr_set(buffer_, &position, piece.iov_len, EVBUFFER_PTR_ADD) != 0) {
      break;
    }
  }
}

void Buffer::drain(std::size_t count) {
  const std::size_t drained = std::min(count, size());
  if (drained == 0) {
    return;
  }
  if (buffer_ != nullptr) {
    evbuffer_drain(buffer_, drained);
    return;
  }
  inside_size_ = static_cast<std::uint8_t>(inside_size_ - drained);
  std::memmove(inside_.data(), inside_.data() + drained, inside_size_);
}

void Buffer::read(std::span<std::uint8_t> destination) {
  PENSTOCK_CHECK(destination.size() <= size(), "no more is read than the buffer holds");
  if (destination.empty()) {
    return;
  }
  if (buffer_ != nullptr) {
    evbuffer_remove(buffer_, destination.data(), destination.size());
    return;
  }
  std::memcpy(destination.data(), inside_.data(), destination.size());
  drain(destination.size());
}

std::span<const std::uint8_t> Buffer::front() const {
  if (buffer_ == nullptr) {
    return {inside_.data(), inside_size_};
  }
  evbuffer_iovec piece;
  if (empty() || evbuffer_peek(buffer_, -1, nullptr, &piece, 1) < 1) {
    return {};
  }
  return {static_cast<const std::uint8_t*>(piece.iov_base), piece.iov_len};
}

int Buffer::pieces(iovec* pieces, int max) const {
  if (empty() || max < 1) {
    return 0;
  }
  if (buffer_ == nullptr) {
    pieces[0] = {.iov_base = const_cast<std::uint8_t*>(inside_.data()), .iov_len = inside_size_};
    return 1;
  }
  return std::min(max, evbuffer_peek(buffer_, -1, nullptr, pieces, max));
}

std::string_view Buffer::linearize() {
  if (buffer_ == nullptr) {
    return {reinterpret_cast<const char*>(inside_.data()), inside_size_};
  }
  if (empty()) {
    return {};
  }
  const auto* bytes = evbuffer_pullup(buffer_, -1);
  PENSTOCK_CHECK(bytes != nullptr, "there is memory for a contiguous copy");
  return {reinterpret_cast<const char*>(bytes), size()};
}

std::string Buffer::toString() const {
  std::string text(size(), '\0');
  if (buffer_ == nullptr) {
    std::ranges::copy(front(), text.begin());
  } else if (!text.empty()) {
    evbuffer_copyout(buffer_, text.data(), text.size());
  }
  return text;
}

}  // namespace penstock::net
