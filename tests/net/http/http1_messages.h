#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net/http/http1_message.h"
#include "net/http/http1_reader.h"

namespace penstock::http {

// One message as the reader took it apart.
struct ReadMessage {
  RequestHead request;
  ResponseHead response;
  Http1Framing framing;
  bool keep_alive = false;
  bool expects_continue = false;
  std::string websocket_key;
  std::string body;
  bool complete = false;
  Headers trailers;
};

struct ReadMessages {
  std::vector<ReadMessage> messages;
  std::optional<Http1Error> error;

  bool rejected(ServerConnection::Rejection why) const {
    return error.has_value() && error->why == why;
  }
};

// Feeds text to a reader in pieces of so many bytes. request: else responses; to_head: which answer
// HEAD requests.
inline ReadMessages readMessages(std::string_view text, const Limits& limits, bool request,
                                 std::size_t piece_size = std::string_view::npos,
                                 bool to_head = false) {
  ReadMessages result;
  Http1Reader reader(
      request ? Http1BlockReader::Start::kRequestLine : Http1BlockReader::Start::kStatusLine,
      limits);
  const auto on_head = [&](std::string_view block) -> std::optional<Http1Error> {
    ReadMessage message;
    if (request) {
      auto read = readRequest(block, limits, false);
      if (!read.has_value()) {
        return read.error();
      }
      message.request = std::move(read->head);
      message.framing = read->framing;
      message.keep_alive = read->keep_alive;
      message.expects_continue = read->expects_continue;
      message.websocket_key = read->websocket_key;
    } else {
      auto read = readResponse(block, limits, to_head);
      if (!read.has_value()) {
        return read.error();
      }
      message.response = std::move(read->head);
      message.framing = read->framing;
      message.keep_alive = read->keep_alive;
    }
    reader.beginBody(message.framing);
    message.complete = message.framing.kind == Http1Framing::Kind::kNone;
    result.messages.push_back(std::move(message));
    return std::nullopt;
  };
  for (std::size_t at = 0; at < text.size(); at += std::min(piece_size, text.size() - at)) {
    // A copy of its own size, so that a sanitizer sees any step beyond it.
    const std::string piece(text.substr(at, piece_size));
    std::string_view input = piece;
    while (!input.empty()) {
      const auto step = reader.next(input);
      if (!step.has_value()) {
        result.error = step.error();
        return result;
      }
      if (step->event == Http1Reader::Event::kHead) {
        result.error = on_head(step->bytes);
        if (result.error.has_value()) {
          return result;
        }
      } else if (step->event == Http1Reader::Event::kData) {
        result.messages.back().body += step->bytes;
        result.messages.back().complete = step->last;
      } else if (step->event == Http1Reader::Event::kEnd) {
        result.messages.back().complete = true;
        result.messages.back().trailers = reader.takeTrailers();
      }
    }
  }
  return result;
}

}  // namespace penstock::http
