#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "net/event_loop.h"
#include "net/http/server_connection.h"
#include "net/listener.h"
#include "proxy/local_reply.h"

namespace penstock::proxy {

// HTTP for a few clients at a time: a port of the operator's. Holds a bounded number of
// connections, and their requests until they have ended. Loop thread only.
//
// Nobody can keep others out. A request has kRequestTime to arrive, an answer kAnswerTime to be
// read; a connection that never completed a request is closed after kRequestTime. When all places
// are taken, a newcomer takes the place of the connection that has served no complete request for
// the longest time, or else of the one that has been answering for the longest time.
class SmallServer final : private net::Listener::Handler {
 private:
  class Connection;

 public:
  static constexpr Duration kRequestTime = std::chrono::seconds(2);
  static constexpr Duration kAnswerTime = std::chrono::seconds(10);
  // An answer that is under way keeps its place for this long, and every connection for the other.
  static constexpr Duration kAnsweringGrace = std::chrono::seconds(2);
  static constexpr Duration kNewcomerGrace = std::chrono::milliseconds(50);
  // Whatever the rest of the process has opened, so many connections find a descriptor.
  static constexpr std::size_t kReservedDescriptors = 8;

  // One request, made by the owner. Destroyed at the end of the turn in which it ends.
  //
  // An exception that leaves one of its calls is answered with Owner::failed(), or with a reset if
  // the answer has begun.
  class Request : public http::RequestHandler {
   public:
    explicit Request(http::ServerStream& stream) : stream_(stream) {}

    void onRequestHead(http::RequestHead head, bool end_stream) final;
    void onData(std::span<const std::uint8_t> data, bool end_stream) final;
    void onTrailers(http::Headers trailers) final;
    void onSendReady() final {}
    void onEnd(http::StreamEnd) final;

   protected:
    virtual void onHead(http::RequestHead head) = 0;
    // A piece of the body, unless the request is answered already.
    virtual void onBody(std::span<const std::uint8_t> data) = 0;
    // The request is complete and not answered.
    virtual void onComplete() = 0;
    // It has ended; the stream must not be touched any more.
    virtual void onEnded() {}

    // The whole answer. Ends an HTTP/1.1 connection if the request is not complete.
    void reply(const LocalReply& reply, bool head_only = false);
    // The first part of an answer that goes on for as long as the owner likes.
    void beginStream(const http::ResponseHead& head);
    void guard(const std::function<void()>& call);
    bool answered() const { return answer_ != Answer::kNone; }
    http::ServerStream& stream() { return stream_; }

   private:
    friend class SmallServer::Connection;
    enum class Answer { kNone, kWhole, kStream };

    void complete();
    void fail(std::string_view what);

    http::ServerStream& stream_;
    Connection* connection_ = nullptr;
    TimePoint begun_at_{};
    std::optional<TimePoint> complete_at_;
    Answer answer_ = Answer::kNone;
  };

  class Owner {
   public:
    virtual std::unique_ptr<Request> makeRequest(http::ServerStream& stream) = 0;
    // What to say to a request that did not get as far as that.
    virtual LocalReply reject(Reason reason, std::string_view detail) = 0;
    // What to say when a request has failed by a defect of ours.
    virtual LocalReply failed(std::string_view what) = 0;

   protected:
    ~Owner() = default;
  };

  // socket: listening, as of net::listenOn. Its times are set here. Loop and owner outlive this.
  SmallServer(net::EventLoop& loop, net::UniqueFd socket, const http::Limits& limits,
              std::size_t max_connections, Owner& owner);
  // Closes every connection.
  ~SmallServer() override;
  SmallServer(const SmallServer&) = delete;
  SmallServer& operator=(const SmallServer&) = delete;

  net::Address address() const { return listener_.address(); }
  // Takes no more connections, and ends each when its requests have ended.
  void drain();

 private:
  void onAccept(net::UniqueFd fd, const net::Address& peer) override;
  void onExhausted() override { makeRoom(); }
  void onClosed(Connection& connection);
  bool overfull() const { return connections_.size() > max_connections_; }
  // Whether a connection was closed for it.
  bool makeRoom();
  void sweep();
  void evict(Connection& connection);
  void updateAccepting();
  void armSweep();
  std::vector<Connection*> all() const;

  net::EventLoop& loop_;
  const http::Limits limits_;
  const std::size_t max_connections_;
  Owner& owner_;
  bool draining_ = false;
  net::Listener listener_;
  net::Timer sweep_;
  std::unordered_map<Connection*, std::unique_ptr<Connection>> connections_;
};

}  // namespace penstock::proxy
