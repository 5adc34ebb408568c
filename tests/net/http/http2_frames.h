#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/unique_fd.h"

struct nghttp2_hd_inflater;

namespace penstock::http {

// HTTP/2 by hand: what a well-behaved library would not let a test send.

using FieldList = std::vector<std::pair<std::string, std::string>>;

enum FrameType : std::uint8_t {
  kDataFrame = 0,
  kHeadersFrame = 1,
  kPriorityFrame = 2,
  kResetFrame = 3,
  kSettingsFrame = 4,
  kPingFrame = 6,
  kGoawayFrame = 7,
  kWindowFrame = 8,
  kContinuationFrame = 9,
};
inline constexpr std::uint8_t kEndStream = 1;
inline constexpr std::uint8_t kAck = 1;
inline constexpr std::uint8_t kEndHeaders = 4;

inline constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

struct Frame {
  std::uint8_t type = 0;
  std::uint8_t flags = 0;
  std::int32_t stream = 0;
  std::string payload;
};

std::string makeFrame(std::uint8_t type, std::uint8_t flags, std::int32_t stream,
                      std::string_view payload);
std::string bigEndian(std::uint32_t value);
// 32 bits at an offset of a frame's payload.
std::uint32_t wordAt(const Frame& frame, std::size_t offset);

// A header block in which every field is a literal that is not indexed.
std::string encodeFields(const FieldList& fields);
// :method, :scheme http, :authority "model", :path, and what is added.
FieldList requestFields(std::string_view method, std::string_view path, const FieldList& more = {});
std::string headersFrame(std::int32_t stream, const FieldList& fields, bool end_stream);
std::string dataFrame(std::int32_t stream, std::string_view data, bool end_stream);
std::string resetFrame(std::int32_t stream, std::uint32_t code);
std::string settingsFrame(const std::vector<std::pair<std::uint16_t, std::uint32_t>>& settings);
std::string windowFrame(std::int32_t stream, std::uint32_t increment);
std::string goawayFrame(std::int32_t last_stream, std::uint32_t code);

// One end of a socket pair, read and written by hand, without blocking.
class FramePeer {
 public:
  explicit FramePeer(net::UniqueFd fd);
  ~FramePeer();

  // All of it must fit the socket's buffer.
  void send(std::string_view bytes);
  // Reads what is there; returns whether anything was.
  bool poll();
  bool sawEnd() const { return saw_end_; }
  void shutdownWriting();
  void close() { fd_.reset(); }
  // Bytes received that are no complete frame, or (raw) all of them.
  const std::string& unparsed() const { return input_; }

  // Frames received so far and not yet taken.
  std::vector<Frame> take();
  // All frames ever received.
  const std::vector<Frame>& seen() const { return seen_; }
  // Of a HEADERS frame; in the order in which they came, each once.
  FieldList decode(const Frame& frame);

  void skipPreface() { preface_left_ = kPreface.size(); }

 private:
  void parse();

  net::UniqueFd fd_;
  std::string input_;
  std::vector<Frame> seen_;
  std::size_t taken_ = 0;
  std::size_t preface_left_ = 0;
  nghttp2_hd_inflater* inflater_ = nullptr;
  bool saw_end_ = false;
};

struct SocketPair {
  net::UniqueFd ours;
  net::UniqueFd theirs;
};
// Connected, non-blocking, with room for a megabyte each way.
SocketPair makeSocketPair();

}  // namespace penstock::http
