#include "net/tls.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <ctime>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

#include "base/check.h"
#include "net/tls_ticket_keys.h"

namespace penstock::net {

namespace {

// In ALPN's wire form: each name after its length.
constexpr std::string_view kH2 = "\x02h2";
constexpr std::string_view kHttp1 = "\x08http/1.1";

std::unexpected<Error> sslFailure(std::string_view what) {
  // The first is the cause; of the system's errors OpenSSL knows only that there was one.
  const unsigned long code = ERR_peek_error();
  const char* reason =
      ERR_SYSTEM_ERROR(code) ? std::strerror(ERR_GET_REASON(code)) : ERR_reason_error_string(code);
  ERR_clear_error();
  return failure(fmt::format("{}: {}", what, reason == nullptr ? "unknown error" : reason));
}

const unsigned char* asBytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

int chooseProtocol(SSL*, const unsigned char** chosen, unsigned char* chosen_size,
                   const unsigned char* offered, unsigned int offered_size, void*) noexcept {
  for (const std::string_view wanted : {kH2, kHttp1}) {
    unsigned char* match = nullptr;
    if (SSL_select_next_proto(&match, chosen_size, asBytes(wanted),
                              static_cast<unsigned int>(wanted.size()), offered,
                              offered_size) == OPENSSL_NPN_NEGOTIATED) {
      *chosen = match;
      return SSL_TLSEXT_ERR_OK;
    }
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

bool useKey(const TicketKeys::Key& key, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac,
            bool encrypt) {
  std::array<unsigned char, 32> mac_key = key.mac;
  std::array<char, 7> digest{"sha256"};
  const std::array<OSSL_PARAM, 3> parameters{
      OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, mac_key.data(), mac_key.size()),
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest.data(), 0),
      OSSL_PARAM_construct_end()};
  return EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), nullptr, key.cipher.data(), iv,
                           encrypt ? 1 : 0) == 1 &&
         EVP_MAC_CTX_set_params(mac, parameters.data()) == 1;
}

// Answers of OpenSSL's ticket callback: -1 error, 0 no ticket, 1 use it, 2 use it and issue a new
// one.
int sealOrOpenTicket(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher,
                     EVP_MAC_CTX* mac, int encrypt) noexcept {
  auto& keys = *static_cast<TicketKeys*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
  if (encrypt != 0) {
    const std::optional<TicketKeys::Key> key = keys.current();
    if (!key || RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1) {
      return -1;
    }
    std::copy(key->name.begin(), key->name.end(), name);
    return useKey(*key, iv, cipher, mac, true) ? 1 : -1;
  }
  bool renew = false;
  const std::optional<TicketKeys::Key> key =
      keys.find(std::span<const unsigned char, 16>(name, 16), renew);
  if (!key) {
    return 0;
  }
  if (!useKey(*key, iv, cipher, mac, false)) {
    return -1;
  }
  return renew ? 2 : 1;
}

// Nobody is there to type a password.
int noPassword(char*, int, int, void*) noexcept {
  return -1;
}

// What both sides have in common.
TlsContext::Native newContext(const SSL_METHOD* method) {
  SSL_CTX* context = SSL_CTX_new(method);
  PENSTOCK_CHECK(context != nullptr, "OpenSSL has memory for a context");
  TlsContext::Native made(context, SSL_CTX_free);
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  // An idle connection keeps no record buffers.
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  const int known = SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20");
  PENSTOCK_CHECK(known == 1, "OpenSSL has ECDHE with AEAD");
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_default_passwd_cb(context, noPassword);
  return made;
}

}  // namespace

TlsContext::TlsContext() = default;

TlsContext::~TlsContext() = default;

Result<std::unique_ptr<TlsContext>> TlsContext::readFirst(std::unique_ptr<TlsContext> made) {
  auto native = made->readAgain();
  if (!native) {
    return std::unexpected(std::move(native.error()));
  }
  made->native_ = std::move(*native);
  return made;
}

Result<std::unique_ptr<TlsContext>> TlsContext::server(const ServerOptions& options,
                                                       const Clock& clock) {
  std::unique_ptr<TlsContext> made(new TlsContext());
  made->options_ = options;
  made->ticket_keys_ = std::make_unique<TicketKeys>(clock);
  return readFirst(std::move(made));
}

Result<std::unique_ptr<TlsContext>> TlsContext::client(const ClientOptions& options) {
  std::unique_ptr<TlsContext> made(new TlsContext());
  made->options_ = options;
  made->server_name_ = options.server_name;
  made->requires_h2_ = options.offer_h2 && !options.offer_http1;
  return readFirst(std::move(made));
}

TlsContext::Native TlsContext::native() const {
  std::lock_guard lock(mutex_);
  return native_;
}

Result<TlsContext::Native> TlsContext::readAgain() const {
  if (const auto* server = std::get_if<ServerOptions>(&options_)) {
    return read(*server, *ticket_keys_);
  }
  return read(std::get<ClientOptions>(options_));
}

void TlsContext::use(Native read) {
  std::lock_guard lock(mutex_);
  native_ = std::move(read);
}

std::int64_t TlsContext::certificateEnd() const {
  const Native native = this->native();
  std::tm end{};
  ASN1_TIME_to_tm(X509_get0_notAfter(SSL_CTX_get0_certificate(native.get())), &end);
  return ::timegm(&end);
}

Result<TlsContext::Native> TlsContext::read(const ServerOptions& options, TicketKeys& ticket_keys) {
  Native made = newContext(TLS_server_method());
  SSL_CTX* context = made.get();
  if (SSL_CTX_use_certificate_chain_file(context, options.certificate_file.c_str()) != 1) {
    return sslFailure(fmt::format("cannot use certificate {}", options.certificate_file));
  }
  if (SSL_CTX_use_PrivateKey_file(context, options.private_key_file.c_str(), SSL_FILETYPE_PEM) !=
          1 ||
      SSL_CTX_check_private_key(context) != 1) {
    return sslFailure(fmt::format("cannot use private key {} with certificate {}",
                                  options.private_key_file, options.certificate_file));
  }
  if (!options.client_ca_file.empty()) {
    const char* ca = options.client_ca_file.c_str();
    STACK_OF(X509_NAME)* names = SSL_load_client_CA_file(ca);
    if (names == nullptr || SSL_CTX_load_verify_file(context, ca) != 1) {
      sk_X509_NAME_pop_free(names, X509_NAME_free);
      return sslFailure(fmt::format("cannot use client CA {}", options.client_ca_file));
    }
    SSL_CTX_set_client_CA_list(context, names);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  // What a conversation is resumed in. Where clients have certificates, those are checked again
  // after each reading of the files.
  std::array<unsigned char, 16> session_context{};
  if (!options.client_ca_file.empty() &&
      RAND_bytes(session_context.data(), session_context.size()) != 1) {
    return sslFailure("no random bytes");
  }
  SSL_CTX_set_session_id_context(context, session_context.data(), session_context.size());
  SSL_CTX_set_alpn_select_cb(context, chooseProtocol, nullptr);
  SSL_CTX_set_app_data(context, &ticket_keys);
  SSL_CTX_set_tlsext_ticket_key_evp_cb(context, sealOrOpenTicket);
  return made;
}

Result<TlsContext::Native> TlsContext::read(const ClientOptions& options) {
  Native made = newContext(TLS_client_method());
  SSL_CTX* context = made.get();
  const bool trusts = options.ca_file.empty()
                          ? SSL_CTX_set_default_verify_paths(context) == 1
                          : SSL_CTX_load_verify_file(context, options.ca_file.c_str()) == 1;
  if (!trusts) {
    return sslFailure(fmt::format("cannot use CA {}", options.ca_file));
  }
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  std::string offer;
  offer += options.offer_h2 ? kH2 : "";
  offer += options.offer_http1 ? kHttp1 : "";
  if (!offer.empty()) {
    // Answers 0 when it went well.
    const int refused =
        SSL_CTX_set_alpn_protos(context, asBytes(offer), static_cast<unsigned int>(offer.size()));
    PENSTOCK_CHECK(refused == 0, "the protocol list is well formed");
  }
  return made;
}

}  // namespace penstock::net
