#pragma once

#include <string_view>

namespace penstock::proxy {

// Whether an authority ("localhost:9901") names this machine's loopback, with any port: localhost,
// 127.0.0.0/8 or [::1]. A page in a browser that has its own name resolved to 127.0.0.1 (DNS
// rebinding) comes with that name, and is told apart by it.
bool isLoopbackAuthority(std::string_view authority);

}  // namespace penstock::proxy
