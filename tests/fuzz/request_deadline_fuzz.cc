// Fields with a request's deadline, one a line, "name:value": what is taken is a time that is not
// negative, and what the replica is told is no less.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "net/http/headers.h"
#include "proxy/http/request_deadline.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace penstock;
  using namespace std::chrono_literals;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  http::Headers headers;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(line.size() + (line.size() < text.size() ? 1 : 0));
    const std::size_t colon = line.find(':');
    if (colon != std::string_view::npos) {
      headers.add(line.substr(0, colon), line.substr(colon + 1));
    }
  }
  const auto timeout = proxy::requestTimeout(headers);
  if (!timeout) {
    PENSTOCK_CHECK(!timeout.error().message.empty(), "a refusal has its reason");
    return 0;
  }
  if (!*timeout) {
    return 0;
  }
  PENSTOCK_CHECK(**timeout >= Duration::zero(), "a time to wait is not negative");
  // A route's timeout bounds what a client asks for.
  const Duration remaining = std::min<Duration>(**timeout, 24h * 365);
  http::Headers passed_on = headers;
  proxy::setRemainingTime(passed_on, remaining);
  const auto told = proxy::requestTimeout(passed_on);
  PENSTOCK_CHECK(told && *told && **told >= remaining,
                 "the replica is not told less than there is");
  proxy::removeTimeouts(passed_on);
  const auto left = proxy::requestTimeout(passed_on);
  PENSTOCK_CHECK(left && !left->has_value(), "what is taken out is out");
  return 0;
}
