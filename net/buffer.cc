#include "net/buffer.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include <sys/uio.h>

#include "base/check.h"

namespace penstock::net {

namespace {

// Below this a piece is copied: to share it would keep a block for a few bytes.
constexpr std::size_t kWorthSharing = 2048;

// Blocks in which small pieces are gathered grow with the buffer, within these.
constexpr std::size_t kFirstRoom = 256;
constexpr std::size_t kMostRoom = 16 * 1024;
constexpr std::size_t kFirstSlices = 4;

}  // namespace

// A piece of a block, which it keeps alive.
struct Buffer::Slice {
  std::shared_ptr<const void> block;
  const std::uint8_t* data = nullptr;
  std::size_t size = 0;
};

struct Buffer::Outside {
  bool hasRoom(std::size_t count) const { return count <= room_size; }
  void makeRoom(std::size_t count);
  void fillRoom(const void* bytes, std::size_t count);
  void pop(std::size_t count);

  // In order; those before first are spent.
  std::vector<Slice> slices;
  std::size_t first = 0;
  // Where the next small piece goes: only this buffer writes there, and nobody has seen it yet.
  std::shared_ptr<std::uint8_t[]> room_block;
  std::uint8_t* room = nullptr;
  std::size_t room_size = 0;
};

void Buffer::Outside::makeRoom(std::size_t count) {
  room_block = std::make_shared_for_overwrite<std::uint8_t[]>(count);
  room = room_block.get();
  room_size = count;
}

void Buffer::Outside::fillRoom(const void* bytes, std::size_t count) {
  std::memcpy(room, bytes, count);
  // No other block begins where this piece of ours ends.
  if (!slices.empty() && slices.back().data + slices.back().size == room) {
    slices.back().size += count;
  } else {
    slices.push_back(Slice{.block = room_block, .data = room, .size = count});
  }
  room += count;
  room_size -= count;
}

void Buffer::Outside::pop(std::size_t count) {
  while (count > 0) {
    Slice& front = slices[first];
    const std::size_t taken = std::min(count, front.size);
    front.data += taken;
    front.size -= taken;
    count -= taken;
    if (front.size == 0) {
      front.block.reset();
      ++first;
    }
  }
  constexpr std::size_t kManySpent = 16;
  if (first >= kManySpent && 2 * first >= slices.size()) {
    slices.erase(slices.begin(), slices.begin() + static_cast<std::ptrdiff_t>(first));
    first = 0;
  }
}

Buffer::Buffer() = default;
Buffer::~Buffer() = default;

Buffer::Buffer(Buffer&& other) noexcept {
  swap(other);
}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  swap(other);
  other.clear();
  return *this;
}

void Buffer::swap(Buffer& other) noexcept {
  std::swap(size_, other.size_);
  std::swap(outside_, other.outside_);
  // Whole, not byte by byte as std::swap() does.
  const auto mine = inside_;
  inside_ = other.inside_;
  other.inside_ = mine;
}

Buffer::Outside& Buffer::outside() {
  if (outside_ == nullptr) {
    outside_ = std::make_unique<Outside>();
    outside_->slices.reserve(kFirstSlices);
    if (size_ > 0) {
      outside_->makeRoom(kFirstRoom);
      outside_->fillRoom(inside_.data(), size_);
    }
  }
  return *outside_;
}

void Buffer::append(const void* bytes, std::size_t count) {
  if (count == 0) {
    return;
  }
  if (outside_ == nullptr && count <= kInside - size_) {
    std::memcpy(inside_.data() + size_, bytes, count);
    size_ += count;
    return;
  }
  Outside& outside = this->outside();
  if (outside.hasRoom(count)) {
    outside.fillRoom(bytes, count);
  } else if (count >= kWorthSharing) {
    auto block = std::make_shared_for_overwrite<std::uint8_t[]>(count);
    std::memcpy(block.get(), bytes, count);
    const std::uint8_t* data = block.get();
    outside.slices.push_back(Slice{.block = std::move(block), .data = data, .size = count});
  } else {
    outside.makeRoom(std::max(count, std::clamp(2 * size_, kFirstRoom, kMostRoom)));
    outside.fillRoom(bytes, count);
  }
  size_ += count;
}

void Buffer::append(std::string_view bytes) {
  append(bytes.data(), bytes.size());
}

void Buffer::append(std::span<const std::uint8_t> bytes) {
  append(bytes.data(), bytes.size());
}

void Buffer::append(Slice slice) {
  const std::size_t size = slice.size;
  outside().slices.push_back(std::move(slice));
  size_ += size;
}

void Buffer::take(std::string bytes) {
  if (bytes.size() < kWorthSharing) {
    append(bytes);
    return;
  }
  auto kept = std::make_shared<const std::string>(std::move(bytes));
  const auto* data = reinterpret_cast<const std::uint8_t*>(kept->data());
  const std::size_t size = kept->size();
  append(Slice{.block = std::move(kept), .data = data, .size = size});
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
  std::size_t left = std::min(count, size_);
  while (left > 0) {
    const std::span<const std::uint8_t> piece = front();
    const std::size_t taken = std::min(left, piece.size());
    if (taken < kWorthSharing) {
      to.append(piece.first(taken));
    } else {
      Slice& from = outside_->slices[outside_->first];
      to.append(Slice{.block = taken < piece.size() ? from.block : std::move(from.block),
                      .data = piece.data(),
                      .size = taken});
    }
    drain(taken);
    left -= taken;
  }
}

void Buffer::copyTo(Buffer& to) const {
  PENSTOCK_CHECK(&to != this, "a buffer is not copied into itself");
  if (outside_ == nullptr) {
    to.append(inside_.data(), size_);
    return;
  }
  for (std::size_t i = outside_->first; i < outside_->slices.size(); ++i) {
    const Slice& slice = outside_->slices[i];
    if (slice.size < kWorthSharing) {
      to.append(slice.data, slice.size);
    } else {
      to.append(slice);
    }
  }
}

void Buffer::drain(std::size_t count) {
  const std::size_t drained = std::min(count, size_);
  size_ -= drained;
  if (size_ == 0) {
    outside_.reset();
  } else if (outside_ != nullptr) {
    outside_->pop(drained);
  } else {
    std::memmove(inside_.data(), inside_.data() + drained, size_);
  }
}

void Buffer::read(std::span<std::uint8_t> destination) {
  PENSTOCK_CHECK(destination.size() <= size_, "no more is read than the buffer holds");
  while (!destination.empty()) {
    const std::span<const std::uint8_t> piece = front();
    const std::size_t taken = std::min(destination.size(), piece.size());
    std::memcpy(destination.data(), piece.data(), taken);
    drain(taken);
    destination = destination.subspan(taken);
  }
}

std::span<const std::uint8_t> Buffer::front() const {
  if (outside_ == nullptr) {
    return {inside_.data(), size_};
  }
  const Slice& slice = outside_->slices[outside_->first];
  return {slice.data, slice.size};
}

int Buffer::pieces(iovec* pieces, int max) const {
  if (empty() || max < 1) {
    return 0;
  }
  if (outside_ == nullptr) {
    pieces[0] = {.iov_base = const_cast<std::uint8_t*>(inside_.data()), .iov_len = size_};
    return 1;
  }
  int count = 0;
  for (std::size_t i = outside_->first; i < outside_->slices.size() && count < max; ++i) {
    const Slice& slice = outside_->slices[i];
    pieces[count++] = {.iov_base = const_cast<std::uint8_t*>(slice.data), .iov_len = slice.size};
  }
  return count;
}

std::string_view Buffer::linearize() {
  if (outside_ != nullptr && front().size() < size_) {
    Buffer whole;
    whole.take(toString());
    swap(whole);
  }
  return {reinterpret_cast<const char*>(front().data()), size_};
}

std::string Buffer::toString() const {
  std::string text;
  text.reserve(size_);
  if (outside_ == nullptr) {
    text.append(reinterpret_cast<const char*>(inside_.data()), size_);
    return text;
  }
  for (std::size_t i = outside_->first; i < outside_->slices.size(); ++i) {
    const Slice& slice = outside_->slices[i];
    text.append(reinterpret_cast<const char*>(slice.data), slice.size);
  }
  return text;
}

}  // namespace penstock::net
