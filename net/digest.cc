#include "net/digest.h"

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include <openssl/evp.h>
#include <openssl/rand.h>

#include "base/check.h"

namespace penstock::net {
namespace {

std::string base64(std::span<const std::uint8_t> bytes) {
  // Four characters for three bytes, and a NUL.
  std::vector<std::uint8_t> text((bytes.size() + 2) / 3 * 4 + 1);
  const int size = EVP_EncodeBlock(text.data(), bytes.data(), static_cast<int>(bytes.size()));
  return {text.begin(), text.begin() + size};
}

}  // namespace

std::string sha1Base64(std::string_view text) {
  std::array<std::uint8_t, EVP_MAX_MD_SIZE> digest;
  unsigned size = 0;
  PENSTOCK_CHECK(
      EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha1(), nullptr) == 1,
      "OpenSSL has SHA-1");
  return base64(std::span(digest).first(size));
}

std::string randomBase64(std::size_t count) {
  std::vector<std::uint8_t> bytes(count);
  PENSTOCK_CHECK(RAND_bytes(bytes.data(), static_cast<int>(count)) == 1,
                 "the system has random bytes");
  return base64(bytes);
}

}  // namespace penstock::net
