#pragma once

#include <array>
#include <random>
#include <string_view>

#include "proxy/http/exchange.h"

namespace penstock::proxy {

// As text.
struct Uuid {
  std::string_view text() const { return {characters.data(), characters.size()}; }
  std::array<char, 36> characters;
};

// Makes random UUIDs (version 4). One thread.
class UuidSource {
 public:
  UuidSource();
  Uuid next();

 private:
  std::mt19937_64 random_;
};

// Gives every request one x-request-id: the client's (of several, the first) if it is printable and
// at most 128 characters long, else a new one. The response carries it too.
class RequestIdFilter final : public Filter {
 public:
  RequestIdFilter(Exchange& exchange, UuidSource& source) : exchange_(exchange), source_(source) {}

  FilterStatus onRequestHead(http::RequestHead& head) override;
  void onResponseHead(http::ResponseHead& head) override;

 private:
  Exchange& exchange_;
  UuidSource& source_;
  bool has_id_ = false;  // the request's is usable
};

}  // namespace penstock::proxy
