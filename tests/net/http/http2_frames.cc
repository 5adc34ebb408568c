#include "tests/net/http/http2_frames.h"

#include <array>
#include <cerrno>

#include <fcntl.h>
#include <nghttp2/nghttp2.h>
#include <sys/socket.h>

#include "base/check.h"

namespace penstock::http {

namespace {

constexpr std::size_t kFrameHeader = 9;

std::uint8_t byteAt(std::string_view text, std::size_t i) {
  return static_cast<std::uint8_t>(text[i]);
}

// An HPACK string: its length with a prefix of 7 bits, not Huffman coded.
void appendString(std::string& block, std::string_view text) {
  std::size_t length = text.size();
  if (length < 127) {
    block.push_back(static_cast<char>(length));
  } else {
    block.push_back(127);
    for (length -= 127; length >= 128; length /= 128) {
      block.push_back(static_cast<char>(length % 128 + 128));
    }
    block.push_back(static_cast<char>(length));
  }
  block.append(text);
}

}  // namespace

std::string bigEndian(std::uint32_t value) {
  std::string text;
  for (int shift = 24; shift >= 0; shift -= 8) {
    text.push_back(static_cast<char>(value >> shift));
  }
  return text;
}

std::uint32_t wordAt(const Frame& frame, std::size_t offset) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    value = value << 8 | byteAt(frame.payload, offset + i);
  }
  return value;
}

std::string makeFrame(std::uint8_t type, std::uint8_t flags, std::int32_t stream,
                      std::string_view payload) {
  std::string frame = bigEndian(static_cast<std::uint32_t>(payload.size())).substr(1);
  frame.push_back(static_cast<char>(type));
  frame.push_back(static_cast<char>(flags));
  frame += bigEndian(static_cast<std::uint32_t>(stream));
  return frame.append(payload);
}

std::string encodeFields(const FieldList& fields) {
  std::string block;
  for (const auto& [name, value] : fields) {
    block.push_back(0);
    appendString(block, name);
    appendString(block, value);
  }
  return block;
}

FieldList requestFields(std::string_view method, std::string_view path, const FieldList& more) {
  FieldList fields = {{":method", std::string(method)},
                      {":scheme", "http"},
                      {":authority", "model"},
                      {":path", std::string(path)}};
  fields.insert(fields.end(), more.begin(), more.end());
  return fields;
}

std::string headersFrame(std::int32_t stream, const FieldList& fields, bool end_stream) {
  const auto flags = static_cast<std::uint8_t>(kEndHeaders | (end_stream ? kEndStream : 0));
  return makeFrame(kHeadersFrame, flags, stream, encodeFields(fields));
}

std::string dataFrame(std::int32_t stream, std::string_view data, bool end_stream) {
  return makeFrame(kDataFrame, end_stream ? kEndStream : 0, stream, data);
}

std::string resetFrame(std::int32_t stream, std::uint32_t code) {
  return makeFrame(kResetFrame, 0, stream, bigEndian(code));
}

std::string settingsFrame(const std::vector<std::pair<std::uint16_t, std::uint32_t>>& settings) {
  std::string payload;
  for (const auto& [id, value] : settings) {
    payload += bigEndian(id).substr(2) + bigEndian(value);
  }
  return makeFrame(kSettingsFrame, 0, 0, payload);
}

std::string windowFrame(std::int32_t stream, std::uint32_t increment) {
  return makeFrame(kWindowFrame, 0, stream, bigEndian(increment));
}

std::string goawayFrame(std::int32_t last_stream, std::uint32_t code) {
  return makeFrame(kGoawayFrame, 0, 0,
                   bigEndian(static_cast<std::uint32_t>(last_stream)) + bigEndian(code));
}

FramePeer::FramePeer(net::UniqueFd fd) : fd_(std::move(fd)) {
  PENSTOCK_CHECK(nghttp2_hd_inflate_new(&inflater_) == 0, "there is memory");
}

FramePeer::~FramePeer() {
  nghttp2_hd_inflate_del(inflater_);
}

void FramePeer::send(std::string_view bytes) {
  const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  // The other side may have closed already, which some tests are about.
  PENSTOCK_CHECK(sent == static_cast<ssize_t>(bytes.size()) || (sent < 0 && errno == EPIPE),
                 "what a test sends fits the socket");
}

bool FramePeer::poll() {
  std::array<char, 65536> bytes;
  bool any = false;
  while (fd_.valid() && !saw_end_) {
    const ssize_t count = ::recv(fd_.get(), bytes.data(), bytes.size(), 0);
    if (count < 0 && errno == EAGAIN) {
      break;
    }
    saw_end_ = count <= 0;
    any = true;
    if (count > 0) {
      input_.append(bytes.data(), static_cast<std::size_t>(count));
    }
  }
  parse();
  return any;
}

void FramePeer::shutdownWriting() {
  ::shutdown(fd_.get(), SHUT_WR);
}

void FramePeer::parse() {
  std::size_t at = 0;
  if (preface_left_ > 0) {
    if (input_.size() < preface_left_) {
      return;
    }
    at = std::exchange(preface_left_, 0);
  }
  while (input_.size() - at >= kFrameHeader) {
    const auto size = static_cast<std::size_t>(byteAt(input_, at)) << 16 |
                      static_cast<std::size_t>(byteAt(input_, at + 1)) << 8 |
                      byteAt(input_, at + 2);
    if (input_.size() - at < kFrameHeader + size) {
      break;
    }
    Frame frame;
    frame.type = byteAt(input_, at + 3);
    frame.flags = byteAt(input_, at + 4);
    frame.payload = input_.substr(at + 5, 4);
    frame.stream = static_cast<std::int32_t>(wordAt(frame, 0));
    frame.payload = input_.substr(at + kFrameHeader, size);
    at += kFrameHeader + size;
    seen_.push_back(std::move(frame));
  }
  input_.erase(0, at);
}

std::vector<Frame> FramePeer::take() {
  poll();
  std::vector<Frame> fresh(seen_.begin() + static_cast<std::ptrdiff_t>(taken_), seen_.end());
  taken_ = seen_.size();
  return fresh;
}

FieldList FramePeer::decode(const Frame& frame) {
  FieldList fields;
  auto* in = reinterpret_cast<std::uint8_t*>(const_cast<char*>(frame.payload.data()));
  std::size_t left = frame.payload.size();
  for (;;) {
    nghttp2_nv field;
    int flags = 0;
    const ssize_t used = nghttp2_hd_inflate_hd2(inflater_, &field, &flags, in, left, 1);
    PENSTOCK_CHECK(used >= 0, "the codec sends valid HPACK");
    in += used;
    left -= static_cast<std::size_t>(used);
    if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
      fields.emplace_back(std::string(reinterpret_cast<char*>(field.name), field.namelen),
                          std::string(reinterpret_cast<char*>(field.value), field.valuelen));
    }
    if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) {
      nghttp2_hd_inflate_end_headers(inflater_);
      return fields;
    }
  }
}

SocketPair makeSocketPair() {
  int fds[2];
  PENSTOCK_CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0,
                 "there are descriptors");
  const int size = 1 << 20;
  for (const int fd : fds) {
    ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  }
  return {net::UniqueFd(fds[0]), net::UniqueFd(fds[1])};
}

}  // namespace penstock::http
