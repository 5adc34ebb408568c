#pragma once

#include "net/connection.h"
#include "net/http/client_connection.h"
#include "net/http/server_connection.h"

namespace penstock::http {

// A connection whose protocol is chosen. It owns its net::Connection but does not start() it:
// whoever makes it either does, with the codec as the handler, or stays the handler itself (because
// it had to look at the first bytes) and passes every call on, beginning with onConnected().
class ServerCodec : public ServerConnection, public net::ConnectionHandler {};
class ClientCodec : public ClientConnection, public net::ConnectionHandler {};

}  // namespace penstock::http
