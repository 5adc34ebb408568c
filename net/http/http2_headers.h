#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nghttp2/nghttp2.h>

#include "net/http/headers.h"
#include "net/http/limits.h"
#include "net/http/server_connection.h"

namespace penstock::http {

// Collects one header block field by field, in bounded memory however much HPACK makes of a few
// bytes: past a limit it goes on counting and keeps nothing. One at a time exists on a connection,
// because header blocks do not interleave.
class Http2FieldBlock {
 public:
  explicit Http2FieldBlock(const Limits& limits) : limits_(limits) {}

  void begin();
  // Counts a field. False if it is not to be kept.
  bool count(std::string_view name, std::string_view value);
  // Counts one more piece of a field that has been counted: cookies come in crumbs.
  bool countMore(std::string_view value);
  // Counts and keeps it.
  void add(std::string_view name, std::string_view value);
  // nghttp2 would have left a field out as malformed.
  void addInvalid() { invalid_ = true; }
  bool tooLarge() const { return too_large_; }
  bool invalid() const { return invalid_; }
  Headers& headers() { return headers_; }
  const Headers& headers() const { return headers_; }

 private:
  bool withinLimits();

  const Limits& limits_;
  Headers headers_;
  std::size_t bytes_ = 0;
  std::size_t fields_ = 0;
  bool too_large_ = false;
  bool invalid_ = false;
};

// Why a request is refused before anybody hears of it.
struct Http2Refusal {
  ServerConnection::Rejection why;
  std::string_view detail;
  bool is_grpc = false;
};

// A request's header block, with everything checked that nghttp2 lets pass.
class Http2RequestBlock {
 public:
  explicit Http2RequestBlock(const Limits& limits) : limits_(limits), fields_(limits) {}

  void begin();
  void add(std::string_view name, std::string_view value);
  void addInvalid() { fields_.addInvalid(); }
  bool expectsContinue() const { return expects_continue_; }
  // Once it has ended: why it is refused, or what head() is.
  std::optional<Http2Refusal> finish();
  // To be moved from.
  RequestHead& head() { return head_; }

 private:
  void addPseudo(std::string_view name, std::string_view value);
  std::optional<Http2Refusal> check() const;
  std::optional<Http2Refusal> checkWebSocket() const;

  const Limits& limits_;
  Http2FieldBlock fields_;
  RequestHead head_;
  std::string host_;
  std::optional<std::string> cookie_;  // its crumbs so far, joined
  bool has_host_ = false;
  bool path_too_long_ = false;
  bool expects_continue_ = false;
};

// A response's header block.
class Http2ResponseBlock {
 public:
  explicit Http2ResponseBlock(const Limits& limits) : fields_(limits) {}

  void begin();
  void add(std::string_view name, std::string_view value);
  void addInvalid() { fields_.addInvalid(); }
  // Nothing if the block broke a limit or had a malformed field.
  std::optional<ResponseHead> finish();

 private:
  Http2FieldBlock fields_;
  ResponseHead head_;
};

// What the header blocks that one connection sends have in common.
struct Http2FieldRoom {
  std::vector<nghttp2_nv> list;
  std::uint32_t blocks = 0;  // sent so far
};

// How much a header block is to a peer that limits it (RFC 9113 §6.5.2): these fields, and room for
// a response's status and length. At least kUnsendable if no peer could decode one of its fields.
inline constexpr std::size_t kUnsendable = std::size_t{1} << 32;
std::size_t headerListBytes(const Headers& headers);

// The fields of a message as nghttp2 wants them, one list at a time on a connection. It copies when
// they are submitted, but not what was said to live for ever. Values that never repeat are kept out
// of the compression table, but for one in many blocks, so that the table has their names.
class Http2FieldList {
 public:
  explicit Http2FieldList(Http2FieldRoom& room);

  // Both live for ever.
  void addConstant(std::string_view name, std::string_view value);
  // The name lives for ever.
  void addNamed(std::string_view name, std::string_view value);
  void add(std::string_view name, std::string_view value);
  // All but those that belong to one connection, "host", "content-length" and what must not be
  // written. websocket: and those of HTTP/1.1's handshake.
  void addHeaders(const Headers& headers, bool websocket = false);
  // The declared length, or else what the headers say of it.
  void addContentLength(std::optional<std::uint64_t> length, const Headers& headers);
  void addStatus(int status);

  // As headerListBytes() counts.
  std::size_t bytes() const;
  const nghttp2_nv* data() const { return list_.data(); }
  std::size_t size() const { return list_.size(); }

 private:
  std::vector<nghttp2_nv>& list_;
  const bool shows_names_;
  char length_[20];
  char status_[3];
};

// Whether these may be written as a request's pseudo-header fields.
bool isWritableRequestLine(std::string_view method, std::string_view scheme,
                           std::string_view authority, std::string_view path);

}  // namespace penstock::http
