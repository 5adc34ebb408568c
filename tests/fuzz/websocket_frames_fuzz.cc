// A client's WebSocket frames: however the bytes are cut, the same is heard; text is UTF-8, nothing
// is longer than its bound, and nothing is heard after the end.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "base/check.h"
#include "sidecar/websocket_frames.h"

namespace penstock::sidecar {
namespace {

constexpr std::size_t kMaxMessage = 300;

class Listener final : public WebSocketReader::Handler {
 public:
  bool mayKeep(std::size_t) override { return true; }
  void onClientMessage(bool text, std::string message) override {
    PENSTOCK_CHECK(message.size() <= kMaxMessage, "a message is within its bound");
    PENSTOCK_CHECK(!text || isUtf8(message), "text is UTF-8");
    note(text ? 't' : 'b', message);
  }
  void onPing(std::string_view payload) override {
    PENSTOCK_CHECK(payload.size() <= 125, "a ping is short");
    note('p', payload);
  }
  void onClientClose(std::uint16_t code, std::string_view reason) override {
    PENSTOCK_CHECK(code >= 1000 && code < 5000 && code != 1006, "a close code is one");
    PENSTOCK_CHECK(isUtf8(reason), "a reason is UTF-8");
    note('c', reason);
    over = true;
  }
  void onBroken(std::uint16_t, std::string_view why) override {
    note('!', why);
    over = true;
  }

  std::string heard;
  bool over = false;

 private:
  void note(char what, std::string_view text) {
    PENSTOCK_CHECK(!over, "nothing is heard after the end");
    heard += what;
    heard += text;
    heard += '\n';
  }
};

std::string listen(std::span<const std::uint8_t> bytes, std::size_t piece) {
  Listener listener;
  WebSocketReader reader(kMaxMessage, listener);
  while (!bytes.empty()) {
    const std::size_t count = piece < bytes.size() ? piece : bytes.size();
    reader.feed(bytes.first(count));
    bytes = bytes.subspan(count);
  }
  PENSTOCK_CHECK(reader.done() == listener.over, "it knows when it is done");
  return listener.heard;
}

}  // namespace
}  // namespace penstock::sidecar

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace penstock::sidecar;
  const std::span<const std::uint8_t> bytes(data, size);
  const std::string whole = listen(bytes, size + 1);
  for (const std::size_t piece : {1u, 2u, 5u}) {
    PENSTOCK_CHECK(listen(bytes, piece) == whole, "it does not matter how the bytes are cut");
  }
  return 0;
}
