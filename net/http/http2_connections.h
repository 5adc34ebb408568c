#pragma once

#include <memory>

#include "net/http/codec.h"

namespace penstock::http {

// Bytes read before the protocol was known go to onBytes() after onConnected().
std::unique_ptr<ServerCodec> makeHttp2ServerConnection(net::EventLoop& loop,
                                                       std::unique_ptr<net::Connection> connection,
                                                       const Limits& limits,
                                                       ServerConnection::Owner& owner);

// detect: a peer that does not answer the preface with SETTINGS is told to the owner by
// onNotHttp2() rather than as a closed connection.
std::unique_ptr<ClientCodec> makeHttp2ClientConnection(net::EventLoop& loop,
                                                       std::unique_ptr<net::Connection> connection,
                                                       bool detect, const Limits& limits,
                                                       ClientConnection::Owner& owner);

}  // namespace penstock::http
