#include "net/http/http2_callbacks.h"

#include <memory>
#include <span>
#include <string_view>

#include "base/check.h"
#include "net/http/http2_session.h"
#include "net/http/http2_stream.h"

namespace penstock::http {

namespace {

// A single mem_send call may frame DATA for as long as windows last; this ends it.
constexpr std::size_t kOutputLimit = 64 * 1024;
constexpr std::size_t kFrameHeaderSize = 9;
// More than any configuration lets a message have: nghttp2's own limit drops a larger block without
// a word. The buffers for it are made as they are needed.
constexpr std::size_t kMaxSentHeaders = 2 << 20;

std::string_view view(nghttp2_rcbuf* buffer) {
  const nghttp2_vec text = nghttp2_rcbuf_get_buf(buffer);
  return {reinterpret_cast<const char*>(text.base), text.len};
}

}  // namespace

// The C side. Nothing here may throw or return an error without need: an error from a callback is
// fatal for the connection, and from on_stream_close it leaves nghttp2 in a bad state.
struct Http2Callbacks {
  static Http2Session& session(void* user_data) { return *static_cast<Http2Session*>(user_data); }

  static int onBeginHeaders(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    Http2Session& self = session(user_data);
    if (self.open_) {
      self.events_.onHeadersBegin(frame->hd.stream_id, frame->headers.cat == NGHTTP2_HCAT_REQUEST);
      self.block_ = self.find(frame->hd.stream_id);
    }
    return 0;
  }

  static int onHeader(nghttp2_session*, const nghttp2_frame*, nghttp2_rcbuf* name,
                      nghttp2_rcbuf* value, std::uint8_t, void* user_data) {
    Http2Session& self = session(user_data);
    const std::string_view name_text = view(name);
    const std::string_view value_text = view(value);
    if (self.block_ != nullptr && self.open_) {
      self.events_.onHeader(*self.block_, name_text, value_text);
    }
    return self.mayDecode(name_text.size() + value_text.size()) ? 0 : NGHTTP2_ERR_PAUSE;
  }

  static int onInvalidHeader(nghttp2_session*, const nghttp2_frame*, nghttp2_rcbuf* name,
                             nghttp2_rcbuf* value, std::uint8_t, void* user_data) {
    Http2Session& self = session(user_data);
    if (self.block_ != nullptr && self.open_) {
      self.events_.onInvalidHeader(*self.block_);
    }
    return self.mayDecode(view(name).size() + view(value).size()) ? 0 : NGHTTP2_ERR_PAUSE;
  }

  static int onFrame(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    Http2Session& self = session(user_data);
    if (self.open_) {
      self.frameReceived(*frame);
    }
    return 0;
  }

  static int onInvalidFrame(nghttp2_session*, const nghttp2_frame* frame, int, void* user_data) {
    Http2Session& self = session(user_data);
    Http2Stream* stream =
        frame->hd.type == NGHTTP2_HEADERS ? self.find(frame->hd.stream_id) : nullptr;
    if (stream != nullptr && self.open_) {
      self.events_.onInvalidRequest(*stream);
    }
    return 0;
  }

  static int onData(nghttp2_session* native, std::uint8_t, std::int32_t id,
                    const std::uint8_t* data, std::size_t size, void* user_data) {
    Http2Session& self = session(user_data);
    nghttp2_session_consume_connection(native, size);
    self.guard_.onDataReceived(size);
    Http2Stream* stream = self.find(id);
    if (stream != nullptr && self.open_) {
      stream->receiveData({data, size});
    }
    return 0;
  }

  static int beforeFrame(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    if (frame->hd.type == NGHTTP2_HEADERS) {
      Http2Stream* stream = session(user_data).find(frame->hd.stream_id);
      if (stream != nullptr) {
        stream->started_ = true;
      }
    }
    return 0;
  }

  static int afterFrame(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    session(user_data).frameSent(*frame);
    return 0;
  }

  static int frameNotSent(nghttp2_session*, const nghttp2_frame* frame, int error,
                          void* user_data) {
    if (error == NGHTTP2_ERR_FRAME_SIZE_ERROR) {
      session(user_data).frameNotSent(*frame);
    }
    return 0;
  }

  static int onStreamClose(nghttp2_session*, std::int32_t id, std::uint32_t error_code,
                           void* user_data) {
    Http2Session& self = session(user_data);
    Http2Stream* stream = self.find(id);
    if (stream != nullptr) {
      self.streamClosed(*stream, error_code);
    }
    return 0;
  }

  static ssize_t pullData(nghttp2_session*, std::int32_t id, std::uint8_t*, std::size_t max,
                          std::uint32_t* flags, nghttp2_data_source*, void* user_data) {
    Http2Session& self = session(user_data);
    Http2Stream* stream = self.find(id);
    // A stream that was reset has nothing more to say; its RST_STREAM is on the way.
    return stream == nullptr || !self.open_ ? ssize_t{NGHTTP2_ERR_DEFERRED}
                                            : stream->pull(max, flags);
  }

  static int sendData(nghttp2_session*, nghttp2_frame* frame, const std::uint8_t* header,
                      std::size_t size, nghttp2_data_source*, void* user_data) {
    Http2Session& self = session(user_data);
    if (!self.open_ || self.filling_->size() >= kOutputLimit) {
      return NGHTTP2_ERR_WOULDBLOCK;
    }
    Http2Stream* stream = self.find(frame->hd.stream_id);
    if (stream == nullptr) {
      return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    self.filling_->append(std::span(header, kFrameHeaderSize));
    stream->writePayload(*self.filling_, size);
    self.guard_.onDataSent(size, stream->allFramed());
    return 0;
  }
};

namespace {

struct CallbacksDeleter {
  void operator()(nghttp2_session_callbacks* callbacks) const {
    nghttp2_session_callbacks_del(callbacks);
  }
};
struct OptionDeleter {
  void operator()(nghttp2_option* option) const { nghttp2_option_del(option); }
};
using Callbacks = std::unique_ptr<nghttp2_session_callbacks, CallbacksDeleter>;
using Option = std::unique_ptr<nghttp2_option, OptionDeleter>;

Callbacks makeCallbacks() {
  nghttp2_session_callbacks* made = nullptr;
  PENSTOCK_CHECK(nghttp2_session_callbacks_new(&made) == 0, "there is memory");
  nghttp2_session_callbacks_set_on_begin_headers_callback(made, Http2Callbacks::onBeginHeaders);
  nghttp2_session_callbacks_set_on_header_callback2(made, Http2Callbacks::onHeader);
  nghttp2_session_callbacks_set_on_invalid_header_callback2(made, Http2Callbacks::onInvalidHeader);
  nghttp2_session_callbacks_set_on_frame_recv_callback(made, Http2Callbacks::onFrame);
  nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(made,
                                                               Http2Callbacks::onInvalidFrame);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(made, Http2Callbacks::onData);
  nghttp2_session_callbacks_set_before_frame_send_callback(made, Http2Callbacks::beforeFrame);
  nghttp2_session_callbacks_set_on_frame_send_callback(made, Http2Callbacks::afterFrame);
  nghttp2_session_callbacks_set_on_frame_not_send_callback(made, Http2Callbacks::frameNotSent);
  nghttp2_session_callbacks_set_on_stream_close_callback(made, Http2Callbacks::onStreamClose);
  nghttp2_session_callbacks_set_send_data_callback(made, Http2Callbacks::sendData);
  return Callbacks(made);
}

Option makeOption() {
  nghttp2_option* made = nullptr;
  PENSTOCK_CHECK(nghttp2_option_new(&made) == 0, "there is memory");
  nghttp2_option_set_no_auto_window_update(made, 1);
  nghttp2_option_set_max_send_header_block_length(made, kMaxSentHeaders);
  // Http2FrameHeads counts them by what the configuration lets a message have.
  nghttp2_option_set_max_continuations(made, SIZE_MAX);
  // It would keep a hundred of them for each connection, only to tell which frames come too
  // late; Http2FrameHeads does that.
  nghttp2_option_set_no_closed_streams(made, 1);
  // Http2FloodGuard bounds them, and says why.
  nghttp2_option_set_stream_reset_rate_limit(made, UINT64_MAX, 1);
  return Option(made);
}

}  // namespace

nghttp2_data_provider http2Body() {
  return {.source = {.ptr = nullptr}, .read_callback = Http2Callbacks::pullData};
}

nghttp2_session* newHttp2Session(bool server, Http2Session& owner) {
  // Constant tables that nghttp2 copies.
  static const Callbacks callbacks = makeCallbacks();
  static const Option option = makeOption();
  nghttp2_session* session = nullptr;
  const int error =
      server ? nghttp2_session_server_new2(&session, callbacks.get(), &owner, option.get())
             : nghttp2_session_client_new2(&session, callbacks.get(), &owner, option.get());
  PENSTOCK_CHECK(error == 0, "there is memory");
  return session;
}

}  // namespace penstock::http
