#pragma once

#include <nghttp2/nghttp2.h>

namespace penstock::http {

class Http2Session;

// A session of nghttp2 whose callbacks go to owner: without automatic window updates, with
// everything that nghttp2 would silently accept or leave out reported.
nghttp2_session* newHttp2Session(bool server, Http2Session& owner);

// The body of a message, pulled from the Http2Stream of that id.
nghttp2_data_provider http2Body();

}  // namespace penstock::http
