// The second wall: whatever a head says, what is written can be read in one way only.

#include "net/http/http1_writer.h"

#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace penstock::http {
namespace {

std::string response(const ResponseHead& head, Http1Writer::ResponseOptions options) {
  net::Buffer out;
  Http1Writer().beginResponse(out, head, options);
  return out.toString();
}

std::string request(const RequestHead& head, bool end_stream) {
  net::Buffer out;
  Http1Writer().beginRequest(out, head, end_stream, "fallback:1");
  return out.toString();
}

RequestHead get() {
  RequestHead head;
  head.method = "GET";
  head.authority = "a";
  head.path = "/";
  return head;
}

bool writeData(Http1Writer& writer, net::Buffer& out, std::string_view text, bool end) {
  net::Buffer data;
  data.append(text);
  const bool whole = writer.writeData(out, data, end);
  EXPECT_TRUE(data.empty());
  return whole;
}

TEST(Http1Writer, LeavesOutFieldsThatCouldEndALine) {
  ResponseHead head;
  head.headers.add("good", "1");
  head.headers.add("cr", "a\rSet-Cookie: b");
  head.headers.add("lf", "a\nb");
  head.headers.add("nul", std::string_view("a\0b", 3));
  head.headers.add("bad name", "1");
  head.headers.add("bad\r\nname", "1");
  head.headers.add(":status", "1");
  head.headers.add("", "1");
  EXPECT_EQ(response(head, {.end_stream = true}),
            "HTTP/1.1 200 OK\r\ngood: 1\r\ncontent-length: 0\r\n\r\n");

  RequestHead asked = get();
  asked.method = "GET / HTTP/1.1\r\nx: y";
  asked.path = "/a b\r\nx: y#\x80";
  asked.authority = "a\r\nx: y";
  EXPECT_EQ(request(asked, true),
            "INVALID /a%20b%0D%0Ax:%20y%23%80 HTTP/1.1\r\nhost: fallback:1\r\n\r\n");
}

TEST(Http1Writer, ComputesFramingItself) {
  ResponseHead head;
  head.headers.add("content-length", "7");
  head.headers.add("transfer-encoding", "gzip");
  EXPECT_EQ(response(head, {}), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
  EXPECT_EQ(response(head, {.end_stream = true}), "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
  EXPECT_EQ(response(head, {.http10 = true}), "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
  head.content_length = 9;
  EXPECT_EQ(response(head, {}), "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n");
  EXPECT_EQ(response(head, {.http10 = true}),
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: keep-alive\r\n\r\n");
  EXPECT_EQ(response(head, {.end_stream = true, .to_head = true}),
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n");
  head.status = 204;
  EXPECT_EQ(response(head, {.end_stream = true, .keep_alive = false}),
            "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
  head.status = 304;
  EXPECT_EQ(response(head, {.end_stream = true}),
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n");
  head.status = 599;
  EXPECT_EQ(response(head, {.end_stream = true}), "HTTP/1.1 599 \r\ncontent-length: 0\r\n\r\n");
}

TEST(Http1Writer, ComputesARequestsFraming) {
  RequestHead head = get();
  EXPECT_EQ(request(head, true), "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
  head.method = "POST";
  EXPECT_EQ(request(head, true), "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
  EXPECT_EQ(request(head, false),
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
  head.content_length = 3;
  EXPECT_EQ(request(head, false), "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n");
}

TEST(Http1Writer, StripsHopByHopFieldsAndThoseConnectionNamesButNoneThatMatter) {
  RequestHead head = get();
  head.headers.add("connection", "close, x-private, Authorization");
  head.headers.add("connection", "x-other");
  for (const char* name : {"x-private", "x-other", "keep-alive", "te", "upgrade", "host",
                           "proxy-connection", "http2-settings", "transfer-encoding"}) {
    head.headers.add(name, "1");
  }
  head.headers.add("expect", "100-continue");
  head.headers.add("authorization", "secret");
  head.headers.add("x-kept", "1");
  EXPECT_EQ(request(head, true),
            "GET / HTTP/1.1\r\nhost: a\r\nauthorization: secret\r\nx-kept: 1\r\n\r\n");
}

TEST(Http1Writer, WritesChunksAndTrailers) {
  Http1Writer writer;
  net::Buffer out;
  writer.beginResponse(out, {}, {});
  out.clear();
  EXPECT_TRUE(writeData(writer, out, std::string(26, 'x'), false));
  EXPECT_TRUE(writeData(writer, out, "", false));
  EXPECT_EQ(out.toString(), "1a\r\n" + std::string(26, 'x') + "\r\n") << "an empty chunk would end";
  out.clear();
  Headers trailers;
  trailers.add("grpc-status", "0");
  trailers.add("content-length", "3");
  trailers.add("evil", "a\r\nb");
  EXPECT_TRUE(writer.writeTrailers(out, trailers));
  EXPECT_EQ(out.toString(), "0\r\ngrpc-status: 0\r\n\r\n");

  out.clear();
  writer.beginResponse(out, {}, {});
  out.clear();
  EXPECT_TRUE(writeData(writer, out, "ab", true));
  EXPECT_EQ(out.toString(), "2\r\nab\r\n0\r\n\r\n");
}

TEST(Http1Writer, NeverWritesMoreThanItDeclaredAndTellsWhenItIsLess) {
  ResponseHead head;
  head.content_length = 4;
  Http1Writer writer;
  net::Buffer out;
  writer.beginResponse(out, head, {});
  out.clear();
  EXPECT_TRUE(writeData(writer, out, "abc", false));
  EXPECT_FALSE(writeData(writer, out, "def", false));
  EXPECT_EQ(out.toString(), "abcd");

  writer.beginResponse(out, head, {});
  out.clear();
  EXPECT_FALSE(writeData(writer, out, "abc", true));
  writer.beginResponse(out, head, {});
  EXPECT_FALSE(writer.writeTrailers(out, {}));
}

TEST(Http1Writer, WritesNoBodyWhereThereIsNone) {
  ResponseHead head;
  head.content_length = 4;
  Http1Writer writer;
  net::Buffer out;
  writer.beginResponse(out, head, {.to_head = true});
  out.clear();
  EXPECT_TRUE(writeData(writer, out, "abcd", true));
  EXPECT_TRUE(out.empty());
}

}  // namespace
}  // namespace penstock::http
