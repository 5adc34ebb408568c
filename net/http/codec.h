#pragma once

#include "net/connection.h"
#include "net/http/client_connection.h"
#include "net/http/server_connection.h"

namespace penstock::http {

// One protocol's side of a connection: what ServerConnection::make and ClientConnection::make
// choose from. A codec owns the net::Connection but does not start it: whoever makes the codec
// either calls connection->start(codec), or has started the connection already (to see its first
// bytes or its ALPN) and passes every call of its own ConnectionHandler on, onConnected first,
// bytes that were read before the choice next.
class ServerCodec : public ServerConnection, public net::ConnectionHandler {};
class ClientCodec : public ClientConnection, public net::ConnectionHandler {};

}  // namespace penstock::http
