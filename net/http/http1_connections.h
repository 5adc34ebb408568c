#pragma once

#include <memory>

#include "net/http/codec.h"

namespace penstock::http {

// HTTP/1.0 and 1.1, the answering side: keep-alive, pipelined requests one after the other.
std::unique_ptr<ServerCodec> makeHttp1Server(net::EventLoop& loop,
                                             std::unique_ptr<net::Connection> connection,
                                             const Limits& limits, ServerConnection::Owner& owner);

// HTTP/1.1, the asking side: one request at a time, never pipelined.
std::unique_ptr<ClientCodec> makeHttp1Client(net::EventLoop& loop,
                                             std::unique_ptr<net::Connection> connection,
                                             const Limits& limits, ClientConnection::Owner& owner);

}  // namespace penstock::http
