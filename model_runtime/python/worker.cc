#include "model_runtime/python/worker.h"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include <nlohmann/json.hpp>
#include <sys/socket.h>
#include <unistd.h>

namespace penstock::runtime {
namespace {

constexpr std::uint32_t kProtocolVersion = 2;
constexpr auto kTimeToEnd = std::chrono::seconds(5);
constexpr std::size_t kMostOfAnEvent = 1000;  // bytes

std::string stringIn(const nlohmann::json& object, const char* key) {
  const auto at = object.find(key);
  return at != object.end() && at->is_string() ? at->get<std::string>() : std::string();
}

}  // namespace

Result<std::unique_ptr<Worker>> Worker::start(net::EventLoop& loop, const Options& options,
                                              std::size_t lanes, Logger& log, Owner& owner) {
  if (::access(options.interpreter.c_str(), X_OK) != 0) {
    return failure("cannot run the Python interpreter " + options.interpreter + ": " +
                   std::strerror(errno));
  }
  if (options.start.size() > kMaxPayloadBytes) {
    return failure("the model's config is too long for its worker: expected at most " +
                   std::to_string(kMaxPayloadBytes) + " bytes of JSON, got " +
                   std::to_string(options.start.size()));
  }
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return failure(std::string("cannot make a socket: ") + std::strerror(errno));
  }
  net::UniqueFd ours(ends[0]);
  net::UniqueFd theirs(ends[1]);
  auto lane_memory = LaneMemory::make(lanes);
  if (!lane_memory) {
    return std::unexpected(lane_memory.error());
  }
  auto their_memory = lane_memory->share();
  if (!their_memory) {
    return std::unexpected(their_memory.error());
  }
  std::unique_ptr<Worker> worker(
      new Worker(loop, std::move(ours), std::move(*lane_memory), log, owner));
  auto child = net::ChildProcess::start(
      loop,
      {.arguments = {options.interpreter, options.package,
                     std::to_string(net::ChildProcess::kPassedDescriptor)},
       .directory = options.directory,
       .environment = options.environment,
       .descriptor = theirs.get()},
      [self = worker.get()](const std::string& how) { self->onExit(how); });
  if (!child) {
    return std::unexpected(child.error());
  }
  worker->child_ = std::move(*child);
  worker->output_.emplace(
      loop, log,
      net::ChildLog::Origin{
          .what = "model", .fields = {}, .pid = worker->child_->pid(), .program = "model"},
      worker->child_->takeOutput());
  FrameWriter(worker->channel_.out(std::move(*their_memory)), FrameType::kStart, 0, kFlagDescriptor)
      .put(std::string_view(options.start));
  return worker;
}

Worker::Worker(net::EventLoop& loop, net::UniqueFd socket, LaneMemory lane_memory, Logger& log,
               Owner& owner)
    : loop_(loop),
      log_(log),
      owner_(owner),
      channel_(loop, std::move(socket), *this),
      lane_memory_(std::move(lane_memory)),
      kill_(loop, [this] { child_->kill(); }) {}

Worker::~Worker() = default;

void Worker::hangUp() {
  channel_.hangUp();
  kill_.armAfter(kTimeToEnd);
}

std::string Worker::onFrame(Frame& frame) {
  if (!greeted_) {
    return onHello(frame);
  }
  switch (frame.type) {
    case FrameType::kLog:
      return onLog(frame);
    case FrameType::kLoaded: {
      if (std::exchange(loaded_, true)) {
        return "it said twice that the model is loaded";
      }
      return owner_.onLoaded(frame.payload);
    }
    case FrameType::kLoadFailed: {
      const auto object = nlohmann::json::parse(frame.payload, nullptr, false);
      const std::string why = object.is_object() ? stringIn(object, "error") : std::string();
      owner_.onLoadFailed(why.empty() ? "the worker does not say why" : why);
      return {};
    }
    default:
      return loaded_ ? owner_.onWorkerFrame(frame)
                     : "it spoke of requests before the model was loaded";
  }
}

std::string Worker::onHello(const Frame& frame) {
  PayloadReader payload(frame.payload);
  const auto version = payload.number<std::uint32_t>();
  if (frame.type != FrameType::kHello || !payload.ok()) {
    return "it does not speak the worker's protocol";
  }
  greeted_ = true;
  return version == kProtocolVersion
             ? std::string()
             : "it speaks version " + std::to_string(version) + " of the protocol; expected " +
                   std::to_string(kProtocolVersion);
}

std::string Worker::onLog(const Frame& frame) {
  const auto object = nlohmann::json::parse(frame.payload, nullptr, false);
  if (!object.is_object()) {
    // What it says of the model is not worth the model.
    log_.warning("a log event of the model's worker cannot be read",
                 {{"pid", pid()}, {"event", frame.payload.substr(0, kMostOfAnEvent)}});
    return {};
  }
  std::vector<std::pair<std::string, std::string>> texts;
  for (const char* key : {"request_id", "traceback"}) {
    if (std::string text = stringIn(object, key); !text.empty()) {
      texts.emplace_back(key, std::move(text));
    }
  }
  std::vector<LogField> fields{{"pid", pid()}};
  for (const auto& [key, text] : texts) {
    fields.push_back({key, std::string_view(text)});
  }
  log_.log(parseLogLevel(stringIn(object, "level")).value_or(LogLevel::kInfo),
           stringIn(object, "message"), fields);
  return {};
}

void Worker::onChannelClosed(std::string_view broken) {
  if (!broken.empty()) {
    log_.error("the model's worker broke the protocol and is killed",
               {{"pid", pid()}, {"what", broken}});
    child_->kill();
  } else {
    // It has closed its end, and has nothing left to live for.
    kill_.armAfter(kTimeToEnd);
  }
}

void Worker::onExit(const std::string& how) {
  channel_.finish();
  kill_.disarm();
  output_->finish();
  owner_.onWorkerEnded(how);
}

}  // namespace penstock::runtime
