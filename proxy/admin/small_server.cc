#include "proxy/admin/small_server.h"

#include <algorithm>
#include <chrono>
#include <compare>
#include <exception>
#include <utility>
#include <vector>

#include "net/connection.h"

namespace penstock::proxy {
namespace {

using namespace std::chrono_literals;

// How often connections are looked at, and how long a codec has to say 408 by itself.
constexpr Duration kLook = 250ms;
// Without a byte of progress.
constexpr Duration kWriteTime = 5s;

http::Limits withTimes(http::Limits limits) {
  limits.header_timeout = SmallServer::kRequestTime;
  limits.preface_timeout = SmallServer::kRequestTime;
  limits.body_idle_timeout = SmallServer::kRequestTime;
  limits.write_timeout = kWriteTime;
  return limits;
}

}  // namespace

class SmallServer::Connection final : public http::ServerConnection::Owner {
 public:
  // How well a connection has earned its place, and since when; the least goes first.
  struct Standing {
    enum class Use { kNothing, kAnswering };
    Use use;
    TimePoint since;
    auto operator<=>(const Standing&) const = default;
  };

  Connection(SmallServer& server, net::UniqueFd fd, const net::Address& peer)
      : server_(server), begun_at_(server.loop_.now()), idle_since_(begun_at_) {
    auto transport =
        std::make_unique<net::Connection>(server.loop_, std::move(fd), peer, nullptr,
                                          net::Connection::Options{.write_timeout = kWriteTime});
    http_ = http::ServerConnection::make(server.loop_, std::move(transport), server.limits_, *this);
  }
  ~Connection() override { close(); }

  http::RequestHandler* onStream(http::ServerStream& stream) override {
    auto request = server_.owner_.makeRequest(stream);
    Request* const handler = request.get();
    handler->connection_ = this;
    handler->begun_at_ = now();
    requests_.emplace(handler, std::move(request));
    return handler;
  }
  http::ResponseHead rejectRequest(http::ServerConnection::Rejection why, std::string_view detail,
                                   std::string& body) override {
    LocalReply reply = server_.owner_.reject(reasonOf(why), detail);
    body = std::move(reply.body);
    return std::move(reply.head);
  }
  void onConnectionClosed(http::ServerConnection&) override {
    server_.loop_.destroyLater(std::move(http_));
    server_.onClosed(*this);
  }
  void forget(Request& request) {
    const auto it = requests_.find(&request);
    if (it->second->complete_at_) {
      proven_ = true;
    }
    server_.loop_.destroyLater(std::move(it->second));
    requests_.erase(it);
    idle_since_ = now();
  }

  TimePoint now() const { return server_.loop_.now(); }
  SmallServer::Owner& owner() const { return server_.owner_; }
  void drain() { http_->drain(http::ServerConnection::Idle::kClose); }
  // An HTTP/1.1 client that is answered early is not waited for: what comes is read by nobody.
  void endAfterAnswer() {
    if (http_->protocol() != http::Protocol::kHttp2) {
      http_->drain(http::ServerConnection::Idle::kClose);
    }
  }
  void close() {
    if (http_ != nullptr) {
      http_->close();
      server_.loop_.destroyLater(std::move(http_));
    }
  }

  Standing standing() const {
    Standing result{Standing::Use::kNothing, idle_since_};
    for (const auto& [request, owned] : requests_) {
      if (request->complete_at_ &&
          (result.use == Standing::Use::kNothing || *request->complete_at_ < result.since)) {
        result = {Standing::Use::kAnswering, *request->complete_at_};
      }
    }
    return result;
  }
  bool mayGo() const {
    const auto [use, since] = standing();
    return now() - since >= (use == Standing::Use::kNothing ? kNewcomerGrace : kAnsweringGrace);
  }
  // Answers requests that have not come in time. False: the connection's own time is over.
  bool lookAtTimes();

 private:
  SmallServer& server_;
  const TimePoint begun_at_;
  TimePoint idle_since_;  // its beginning, or the end of its last request
  bool proven_ = false;   // it has completed a request
  // Before http_, whose streams refer to them until they are closed.
  std::unordered_map<Request*, std::unique_ptr<Request>> requests_;
  std::unique_ptr<http::ServerConnection> http_;
};

bool SmallServer::Connection::lookAtTimes() {
  const auto late = [this](TimePoint since, Duration time) { return now() - since >= time; };
  std::vector<Request*> overdue;
  for (const auto& [request, owned] : requests_) {
    const auto& complete_at = request->complete_at_;
    if (complete_at && request->answer_ == Request::Answer::kWhole &&
        late(*complete_at, kAnswerTime)) {
      return false;
    }
    if (!complete_at && late(request->begun_at_, kRequestTime)) {
      overdue.push_back(request);
    }
  }
  for (Request* const request : overdue) {
    if (late(request->begun_at_, kRequestTime + 2 * kLook)) {
      return false;
    }
    if (!request->answered()) {
      request->reply(owner().reject(Reason::kRequestTimeout, {}));
    }
  }
  return proven_ || standing().use == Standing::Use::kAnswering ||
         !late(begun_at_, kRequestTime + 2 * kLook);
}

void SmallServer::Request::onRequestHead(http::RequestHead head, bool end_stream) {
  if (end_stream) {
    complete_at_ = connection_->now();
  }
  guard([&] {
    onHead(std::move(head));
    if (end_stream && !answered()) {
      onComplete();
    }
  });
}

void SmallServer::Request::onData(std::span<const std::uint8_t> data, bool end_stream) {
  stream_.consume(data.size());
  guard([&] {
    if (!answered()) {
      onBody(data);
    }
    if (end_stream) {
      complete();
    }
  });
}

void SmallServer::Request::onTrailers(http::Headers) {
  guard([&] { complete(); });
}

void SmallServer::Request::complete() {
  complete_at_ = connection_->now();
  if (!answered()) {
    onComplete();
  }
}

void SmallServer::Request::onEnd(http::StreamEnd) {
  onEnded();
  connection_->forget(*this);
}

void SmallServer::Request::guard(const std::function<void()>& call) {
  try {
    call();
  } catch (const std::exception& exception) {
    fail(exception.what());
  }
}

void SmallServer::Request::fail(std::string_view what) {
  if (!answered()) {
    reply(connection_->owner().failed(what));
    return;
  }
  stream_.reset(http::ResetReason::kInternal);
  onEnded();
  connection_->forget(*this);
}

void SmallServer::Request::reply(const LocalReply& reply, bool head_only) {
  answer_ = Answer::kWhole;
  if (!complete_at_) {
    connection_->endAfterAnswer();
  }
  const bool without_body = head_only || reply.body.empty();
  stream_.sendHead(reply.head, without_body);
  if (!without_body) {
    net::Buffer body;
    body.append(reply.body);
    stream_.sendData(body, true);
  }
}

void SmallServer::Request::beginStream(const http::ResponseHead& head) {
  answer_ = Answer::kStream;
  stream_.sendHead(head, false);
}

SmallServer::SmallServer(net::EventLoop& loop, net::UniqueFd socket, const http::Limits& limits,
                         std::size_t max_connections, Owner& owner)
    : loop_(loop),
      limits_(withTimes(limits)),
      max_connections_(max_connections),
      owner_(owner),
      listener_(loop, std::move(socket), *this, kReservedDescriptors),
      sweep_(loop, [this] { sweep(); }) {}

SmallServer::~SmallServer() = default;

void SmallServer::drain() {
  draining_ = true;
  listener_.close();
  for (Connection* connection : all()) {
    connection->drain();
  }
}

// Draining or closing one takes it out of the table.
std::vector<SmallServer::Connection*> SmallServer::all() const {
  std::vector<Connection*> result;
  for (const auto& [connection, owned] : connections_) {
    result.push_back(connection);
  }
  return result;
}

bool SmallServer::makeRoom() {
  const std::vector<Connection*> connections = all();
  const auto least = std::ranges::min_element(connections, {}, &Connection::standing);
  if (least == connections.end() || !(*least)->mayGo()) {
    return false;
  }
  evict(**least);
  return true;
}

void SmallServer::sweep() {
  for (Connection* connection : all()) {
    if (connections_.contains(connection) && !connection->lookAtTimes()) {
      evict(*connection);
    }
  }
  updateAccepting();
}

void SmallServer::updateAccepting() {
  while (overfull() && makeRoom()) {
  }
  if (!draining_) {
    listener_.setAccepting(!overfull());
  }
  armSweep();
}

// Never later than it is armed already: newcomers must not put it off.
void SmallServer::armSweep() {
  const Duration delay = overfull() ? kNewcomerGrace : kLook;
  if (!connections_.empty() && (!sweep_.armed() || overfull())) {
    sweep_.armAfter(delay);
  }
}

void SmallServer::onAccept(net::UniqueFd fd, const net::Address& peer) {
  auto connection = std::make_unique<Connection>(*this, std::move(fd), peer);
  Connection* const key = connection.get();
  connections_.emplace(key, std::move(connection));
  updateAccepting();
}

void SmallServer::evict(Connection& connection) {
  connection.close();
  onClosed(connection);
}

void SmallServer::onClosed(Connection& connection) {
  const auto it = connections_.find(&connection);
  loop_.destroyLater(std::move(it->second));
  connections_.erase(it);
  if (!draining_) {
    listener_.setAccepting(!overfull());
    listener_.reclaim();
  }
}

}  // namespace penstock::proxy
