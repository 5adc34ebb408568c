#include "proxy/admin/host_check.h"

#include <algorithm>
#include <string>

#include "net/address.h"

namespace penstock::proxy {
namespace {

bool isPort(std::string_view text) {
  return !text.empty() && text.size() <= 5 &&
         std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

bool isLoopbackAuthority(std::string_view authority) {
  std::string_view host = authority;
  const std::size_t colon = authority.rfind(':');
  if (colon != std::string_view::npos && !authority.ends_with(']')) {
    if (!isPort(authority.substr(colon + 1))) {
      return false;
    }
    host = authority.substr(0, colon);
  }
  std::string lower(host);
  std::ranges::transform(lower, lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  });
  if (lower == "localhost") {
    return true;
  }
  const Result<net::Address> address = net::Address::parse(lower + ":1");
  return address.has_value() && address->isLoopback();
}

}  // namespace penstock::proxy
