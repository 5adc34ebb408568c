#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "model_runtime/python/frame.h"
#include "net/event_loop.h"
#include "net/unique_fd.h"

namespace penstock::runtime {

// The sidecar's end of the socket: frames out, in one write per turn of the loop, and frames in, as
// they come. What is not a frame, or the end of the socket, closes it. Loop thread only; the
// handler may have it destroyed later (EventLoop::destroyLater), not at once.
class Channel {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    // Returns what is wrong with the frame; empty if nothing is.
    virtual std::string onFrame(Frame& frame) = 0;
    // The last call. broken: what the peer did wrong; empty if the socket just ended.
    virtual void onChannelClosed(std::string_view broken) = 0;
  };

  // socket: a UNIX stream socket, non-blocking.
  Channel(net::EventLoop& loop, net::UniqueFd socket, Handler& handler);

  // Where to write the next frames (FrameWriter), which go out at the end of this turn. Those of a
  // closed channel are dropped.
  std::string& out();
  // The same for one frame with which a descriptor travels.
  std::string& out(net::UniqueFd descriptor);
  // Tells the peer, after what was sent before this turn, that nothing more comes.
  void hangUp();
  // The peer has ended: takes what it had sent, at most a few megabytes.
  void finish();

 private:
  // Bytes of which the first goes with the descriptor.
  struct Piece {
    std::string bytes;
    net::UniqueFd descriptor;
  };

  void onReady(net::FdWatch::Ready ready);
  void read();
  bool receive();
  bool takeFrames();
  void flush();
  void close(std::string_view broken);

  net::UniqueFd socket_;
  Handler& handler_;
  bool closed_ = false;
  std::deque<Piece> pieces_;
  std::size_t written_ = 0;  // of the first piece
  std::vector<char> in_;
  std::size_t in_begin_ = 0;
  std::size_t in_end_ = 0;
  std::deque<net::UniqueFd> descriptors_;
  net::Deferred flush_;
  net::FdWatch watch_;
};

}  // namespace penstock::runtime
