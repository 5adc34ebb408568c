#include "net/tls_session.h"

#include <algorithm>
#include <array>
#include <cstring>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <sys/uio.h>

#include "base/check.h"

namespace penstock::net {

namespace {

// The most that one TLS record carries.
constexpr std::size_t kRecord = 16 * 1024;

std::string_view selectedProtocol(const SSL* ssl) {
  const unsigned char* name = nullptr;
  unsigned int size = 0;
  SSL_get0_alpn_selected(ssl, &name, &size);
  return {reinterpret_cast<const char*>(name), size};
}

}  // namespace

// OpenSSL's view of the wire: reads what was fed, writes into the session's buffer.
struct TlsWire {
  static TlsSession& session(BIO* bio) { return *static_cast<TlsSession*>(BIO_get_data(bio)); }

  static int read(BIO* bio, char* destination, std::size_t size, std::size_t* count) noexcept {
    std::span<const std::uint8_t>& input = session(bio).input_;
    BIO_clear_retry_flags(bio);
    *count = std::min(size, input.size());
    if (*count == 0) {
      BIO_set_retry_read(bio);
      return 0;
    }
    std::memcpy(destination, input.data(), *count);
    input = input.subspan(*count);
    return 1;
  }

  static int write(BIO* bio, const char* bytes, std::size_t size, std::size_t* count) noexcept {
    session(bio).wire_.append(std::string_view(bytes, size));
    *count = size;
    return 1;
  }

  static long control(BIO*, int command, long, void*) noexcept {
    return command == BIO_CTRL_FLUSH ? 1 : 0;
  }

  static BIO_METHOD* method() {
    static BIO_METHOD* const made = [] {
      BIO_METHOD* fresh = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "penstock");
      PENSTOCK_CHECK(fresh != nullptr, "OpenSSL has memory for a BIO method");
      BIO_meth_set_read_ex(fresh, read);
      BIO_meth_set_write_ex(fresh, write);
      BIO_meth_set_ctrl(fresh, control);
      return fresh;
    }();
    return made;
  }
};

TlsSession::TlsSession(const TlsContext& context, const Address& peer, Buffer& wire)
    : ssl_(SSL_new(context.native().get())), context_(context), wire_(wire) {
  BIO* bio = BIO_new(TlsWire::method());
  PENSTOCK_CHECK(ssl_ != nullptr && bio != nullptr, "OpenSSL has memory for a session");
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_, bio, bio);
  if (context.isServer()) {
    SSL_set_accept_state(ssl_);
    return;
  }
  SSL_set_connect_state(ssl_);
  const std::string& name = context.serverName();
  const std::string host = name.empty() ? peer.host() : name;
  if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_), host.c_str()) != 1) {
    SSL_set_tlsext_host_name(ssl_, host.c_str());
    SSL_set1_host(ssl_, host.c_str());
  }
  ERR_clear_error();
}

TlsSession::~TlsSession() {
  SSL_free(ssl_);
}

TlsSession::Handshake TlsSession::handshake() {
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_);
  if (result == 1) {
    if (!agreed()) {
      failure_ = "the peer does not agree on h2 (ALPN)";
      return Handshake::kFailed;
    }
    return Handshake::kDone;
  }
  if (SSL_get_error(ssl_, result) == SSL_ERROR_WANT_READ) {
    return Handshake::kWantsBytes;
  }
  noteFailure();
  return Handshake::kFailed;
}

void TlsSession::noteFailure() {
  const unsigned long error = ERR_peek_last_error();
  const char* reason = error == 0 ? nullptr : ERR_reason_error_string(error);
  failure_ = reason == nullptr ? "no TLS error is known" : reason;
  if (const long verdict = SSL_get_verify_result(ssl_); verdict != X509_V_OK) {
    failure_ += ": ";
    failure_ += X509_verify_cert_error_string(verdict);
  }
}

TlsSession::Read TlsSession::read(std::span<std::uint8_t> destination, std::size_t& count) {
  ERR_clear_error();
  const int result = SSL_read_ex(ssl_, destination.data(), destination.size(), &count);
  if (result == 1) {
    return Read::kBytes;
  }
  count = 0;
  switch (SSL_get_error(ssl_, result)) {
    case SSL_ERROR_WANT_READ:
      return Read::kWantsBytes;
    case SSL_ERROR_ZERO_RETURN:
      return Read::kClosed;
    default:
      noteFailure();
      return Read::kFailed;
  }
}

bool TlsSession::write(Buffer& plain) {
  std::array<iovec, 16> pieces;
  const int count = plain.pieces(pieces.data(), static_cast<int>(pieces.size()));
  if (count == 0) {
    return true;
  }
  std::size_t size = std::min(pieces[0].iov_len, kRecord);
  const void* bytes = pieces[0].iov_base;
  std::array<char, kRecord> record;
  if (count > 1 && size < kRecord) {
    // Small pieces share a record.
    size = 0;
    for (int i = 0; i < count && size < kRecord; ++i) {
      const iovec& piece = pieces[static_cast<std::size_t>(i)];
      const std::size_t taken = std::min(piece.iov_len, kRecord - size);
      std::memcpy(record.data() + size, piece.iov_base, taken);
      size += taken;
    }
    bytes = record.data();
  }
  ERR_clear_error();
  std::size_t written = 0;
  if (SSL_write_ex(ssl_, bytes, size, &written) != 1) {
    return false;
  }
  plain.drain(written);
  return true;
}

void TlsSession::sayGoodbye() {
  ERR_clear_error();
  SSL_shutdown(ssl_);
}

bool TlsSession::peerSaidGoodbye() const {
  return (SSL_get_shutdown(ssl_) & SSL_RECEIVED_SHUTDOWN) != 0;
}

std::string_view TlsSession::alpn() const {
  return selectedProtocol(ssl_) == "h2" ? "h2" : "http/1.1";
}

bool TlsSession::agreed() const {
  return !context_.requiresH2() || selectedProtocol(ssl_) == "h2";
}

}  // namespace penstock::net
