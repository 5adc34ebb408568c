#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

struct iovec;

namespace penstock::net {

// A queue of bytes: a few in the object itself, more in slices of blocks that buffers share. Above
// 2 KiB, moving and copying between buffers shares memory, wherever the bytes are cut; smaller
// pieces are copied, so that a stream of tiny fragments does not hold a block each. Bytes do not
// change once they are in a buffer. Movable. One thread at a time, each buffer for itself.
class Buffer {
 public:
  Buffer();
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  void append(std::string_view bytes);
  void append(std::span<const std::uint8_t> bytes);
  // Appends the string itself, without copying, if it is long enough for that to pay.
  void take(std::string bytes);
  // Moves everything out of other.
  void append(Buffer& other);
  // Moves the first count bytes (all, if fewer) to the end of to.
  void moveTo(Buffer& to, std::size_t count);
  // Copies all of it to the end of to (a body kept for a retry).
  void copyTo(Buffer& to) const;

  // Removes the first count bytes (all, if fewer).
  void drain(std::size_t count);
  void clear() { drain(size()); }
  // Copies the first destination.size() bytes, which must be there, and removes them.
  void read(std::span<std::uint8_t> destination);

  // The first contiguous piece; empty if there is none. Valid until the buffer changes.
  std::span<const std::uint8_t> front() const;
  // Fills pieces with up to max descriptors of the content in order, for writev; returns how many.
  int pieces(iovec* pieces, int max) const;
  // All of it as one contiguous view; may copy inside. Valid until the buffer changes.
  std::string_view linearize();
  std::string toString() const;

 private:
  // What small bodies fit.
  static constexpr std::size_t kInside = 56;
  struct Slice;
  struct Outside;

  void swap(Buffer& other) noexcept;
  void append(const void* bytes, std::size_t count);
  void append(Slice slice);
  // Made if need be, with what was inside moved into it.
  Outside& outside();

  std::size_t size_ = 0;
  // Once it is there, nothing is inside; gone when the buffer is empty.
  std::unique_ptr<Outside> outside_;
  std::array<std::uint8_t, kInside> inside_{};
};

}  // namespace penstock::net
