#include "net/http/http1_parser.h"

#include <cstdint>
#include <limits>
#include <utility>

#include <boost/beast/http/basic_parser.hpp>

#include "net/http/http1_fields.h"

// Boost.Beast parses start lines and fields. It is not used for bodies: its chunk parser wants a
// whole chunk line, and a whole trailer section, in one contiguous piece without bounding either,
// and counts neither chunks nor extension bytes (see http1_body.h). Its framing is not used either:
// it takes "content-length: 5, 5" and any transfer coding (see http1_message.h).
namespace penstock::http {
namespace {

using Rejection = ServerConnection::Rejection;
namespace beast = boost::beast::http;

// Room for a method, a version, and the scheme and authority of an absolute-form target.
constexpr std::size_t kRequestLineSlack = 512;

template <bool kIsRequest>
class BlockParser final : public beast::basic_parser<kIsRequest> {
 public:
  using ErrorCode = boost::beast::error_code;
  using StringView = boost::beast::string_view;

  explicit BlockParser(Http1BlockSink& sink) : sink_(sink) {
    this->header_limit(std::numeric_limits<std::uint32_t>::max());
    this->skip(true);
  }

  std::expected<void, Http1Error> parse(std::string_view block) {
    ErrorCode error;
    const std::size_t used = this->put({block.data(), block.size()}, error);
    if (!verdict_.has_value()) {
      return std::move(verdict_);
    }
    if (error) {
      return http1Error(Rejection::kBadRequest, error.message());
    }
    if (!this->is_header_done() || used != block.size()) {
      return http1Error(Rejection::kBadRequest, "malformed header block");
    }
    return {};
  }

 private:
  static std::string_view view(StringView text) { return {text.data(), text.size()}; }
  void take(Http1BlockSink::Verdict verdict, ErrorCode& error) {
    if (!verdict.has_value()) {
      verdict_ = std::move(verdict);
      error = beast::error::bad_value;
    }
  }

  void on_request_impl(beast::verb, StringView method, StringView target, int version,
                       ErrorCode& error) override {
    take(sink_.onRequestLine(view(method), view(target), version == 10), error);
  }
  void on_response_impl(int status, StringView, int version, ErrorCode& error) override {
    take(sink_.onStatusLine(status, version == 10), error);
  }
  void on_field_impl(beast::field, StringView name, StringView value, ErrorCode& error) override {
    take(sink_.onField(view(name), view(value)), error);
  }
  void on_header_impl(ErrorCode&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>&, ErrorCode&) override {}
  std::size_t on_body_impl(StringView, ErrorCode&) override { return 0; }
  void on_chunk_header_impl(std::uint64_t, StringView, ErrorCode&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, StringView, ErrorCode&) override { return 0; }
  void on_finish_impl(ErrorCode&) override {}

  Http1BlockSink& sink_;
  Http1BlockSink::Verdict verdict_;
};

// A start line's version that is well formed but not ours: 505 rather than 400.
std::expected<void, Http1Error> checkVersion(std::string_view line) {
  const std::string_view version = line.substr(line.rfind(' ') + 1);
  const bool formed = version.size() == 8 && version.starts_with("HTTP/") && version[6] == '.' &&
                      hexDigit(version[5]) < 10 && hexDigit(version[7]) < 10;
  if (formed && version != "HTTP/1.1" && version != "HTTP/1.0") {
    return http1Error(Rejection::kVersionNotSupported, "only HTTP/1.0, HTTP/1.1 and HTTP/2");
  }
  return {};
}

}  // namespace

std::expected<std::optional<std::string_view>, Http1Error> Http1BlockReader::read(
    std::string_view& input) {
  if (partial_.empty()) {
    auto whole = scan(input);
    if (!whole.has_value()) {
      return std::unexpected(std::move(whole.error()));
    }
    if (*whole) {
      const std::string_view block = input.substr(blank_, scanned_ - blank_);
      input.remove_prefix(scanned_);
      return block;
    }
    partial_.assign(input);
    input = {};
    return std::nullopt;
  }
  const std::size_t before = partial_.size();
  partial_.append(input);
  auto whole = scan(partial_);
  if (!whole.has_value()) {
    return std::unexpected(std::move(whole.error()));
  }
  if (!*whole) {
    input = {};
    return std::nullopt;
  }
  input.remove_prefix(scanned_ - before);
  return std::string_view(partial_).substr(blank_, scanned_ - blank_);
}

void Http1BlockReader::reset(Start next) {
  start_ = next;
  partial_ = std::string();
  scanned_ = start_line_ = lines_ = blank_ = 0;
}

std::expected<bool, Http1Error> Http1BlockReader::scan(std::string_view text) {
  if (lines_ == 0 && !mayStart(text)) {
    return http1Error(Rejection::kBadRequest, "no HTTP/1 message");
  }
  while (true) {
    const std::size_t end = text.find('\n', scanned_);
    if (end == std::string_view::npos) {
      if (auto fits = checkSize(text); !fits.has_value()) {
        return std::unexpected(std::move(fits.error()));
      }
      return false;
    }
    const std::string_view line = text.substr(scanned_, end - scanned_);
    if (line.find('\r') != line.size() - 1 || line.empty()) {
      return http1Error(Rejection::kBadRequest,
                        "lines end with CRLF, and CR and LF stand nowhere else");
    }
    scanned_ = end + 1;
    if (line.size() == 1 && lines_ == 0 && start_ != Start::kNone) {
      if (start_ == Start::kStatusLine || blank_ != 0) {
        return http1Error(Rejection::kBadRequest, "empty line before the start line");
      }
      blank_ = scanned_;
      continue;
    }
    if (line.size() == 1) {
      return true;
    }
    if (line.front() == ' ' || line.front() == '\t') {
      return http1Error(Rejection::kBadRequest, "line begins with white space");
    }
    if (lines_ == 0 && start_ != Start::kNone) {
      start_line_ = scanned_;
    }
    ++lines_;
    if (auto fits = checkSize(text.substr(0, scanned_)); !fits.has_value()) {
      return std::unexpected(std::move(fits.error()));
    }
  }
}

// Tells another protocol (TLS, say) at its first bytes, rather than when a line's end does not
// come.
bool Http1BlockReader::mayStart(std::string_view text) const {
  switch (start_) {
    case Start::kRequestLine:
      return text.empty() || text.front() == '\r' || isToken(text.substr(0, 1));
    case Start::kStatusLine: {
      constexpr std::string_view kVersion = "HTTP/1.";
      return text.starts_with(kVersion.substr(0, text.size()));
    }
    case Start::kNone:
      break;
  }
  return true;
}

std::expected<void, Http1Error> Http1BlockReader::checkSize(std::string_view text) const {
  const bool in_start_line = start_line_ == 0 && start_ != Start::kNone;
  const std::size_t start_line = in_start_line ? text.size() : start_line_;
  if (start_ == Start::kRequestLine && start_line > limits_.max_path_bytes + kRequestLineSlack) {
    return http1Error(Rejection::kUriTooLong, "request line too long");
  }
  // Exact accounting (with 32 bytes a field) is the sink's; this bounds what is kept until then.
  const std::size_t bytes = start_ == Start::kStatusLine ? text.size() : text.size() - start_line;
  if (bytes > limits_.max_header_bytes + 2) {
    return http1Error(Rejection::kHeadersTooLarge, "header block too large");
  }
  if (lines_ > limits_.max_header_fields + (start_ == Start::kNone ? 0 : 1)) {
    return http1Error(Rejection::kHeadersTooLarge, "too many header fields");
  }
  return {};
}

std::expected<void, Http1Error> parseRequestBlock(std::string_view block, Http1BlockSink& sink) {
  if (auto version = checkVersion(block.substr(0, block.find('\r'))); !version.has_value()) {
    return version;
  }
  return BlockParser<true>(sink).parse(block);
}

std::expected<void, Http1Error> parseResponseBlock(std::string_view block, Http1BlockSink& sink) {
  // Real servers leave out the space before a reason phrase that they leave out, and Beast wants
  // it.
  constexpr std::size_t kVersionAndStatus = std::string_view("HTTP/1.1 200").size();
  if (block.find('\r') == kVersionAndStatus) {
    std::string whole(block);
    whole.insert(kVersionAndStatus, 1, ' ');
    return BlockParser<false>(sink).parse(whole);
  }
  return BlockParser<false>(sink).parse(block);
}

std::expected<void, Http1Error> parseTrailerBlock(std::string_view block, Http1BlockSink& sink) {
  // Beast knows fields only below a start line.
  std::string message = "HTTP/1.1 200 \r\n";
  message += block;
  return BlockParser<false>(sink).parse(message);
}

}  // namespace penstock::http
