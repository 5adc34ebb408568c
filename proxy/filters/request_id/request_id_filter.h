#pragma once

#include <random>
#include <string>

#include "proxy/http/exchange.h"

namespace penstock::proxy {

// Makes random UUIDs (version 4). One thread.
class UuidSource {
 public:
  UuidSource();
  std::string next();

 private:
  std::mt19937_64 random_;
};

// Gives every request an x-request-id: the client's, if it is printable and at most 128 characters
// long, else a new one. The response carries it too.
class RequestIdFilter final : public Filter {
 public:
  RequestIdFilter(Exchange& exchange, UuidSource& source) : exchange_(exchange), source_(source) {}

  FilterStatus onRequestHead(http::RequestHead& head) override;
  void onResponseHead(http::ResponseHead& head) override;

 private:
  Exchange& exchange_;
  UuidSource& source_;
};

}  // namespace penstock::proxy
