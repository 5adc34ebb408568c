#include "net/tls_ticket_keys.h"

#include <algorithm>

#include <openssl/crypto.h>
#include <openssl/rand.h>

namespace penstock::net {

TicketKeys::~TicketKeys() {
  OPENSSL_cleanse(keys_.data(), keys_.size() * sizeof(Key));
}

std::optional<TicketKeys::Key> TicketKeys::current() {
  const TimePoint now = clock_.now();
  const std::lock_guard lock(mutex_);
  if (keys_.empty() || now - keys_.back().made_at >= kUsedFor) {
    dropExpired(now);
    Key fresh{.name = {}, .cipher = {}, .mac = {}, .made_at = now};
    if (RAND_bytes(fresh.name.data(), static_cast<int>(fresh.name.size())) != 1 ||
        RAND_priv_bytes(fresh.cipher.data(), static_cast<int>(fresh.cipher.size())) != 1 ||
        RAND_priv_bytes(fresh.mac.data(), static_cast<int>(fresh.mac.size())) != 1) {
      return std::nullopt;
    }
    // Room for all that live at a time, so that growing leaves no copy behind.
    keys_.reserve(4);
    keys_.push_back(fresh);
  }
  return keys_.back();
}

std::optional<TicketKeys::Key> TicketKeys::find(std::span<const unsigned char, 16> name,
                                                bool& renew) {
  const TimePoint now = clock_.now();
  const std::lock_guard lock(mutex_);
  dropExpired(now);
  const auto found = std::ranges::find_if(
      keys_, [name](const Key& key) { return std::ranges::equal(key.name, name); });
  if (found == keys_.end()) {
    return std::nullopt;
  }
  renew = now - found->made_at >= kUsedFor;
  return *found;
}

void TicketKeys::dropExpired(TimePoint now) {
  std::size_t kept = 0;
  for (const Key& key : keys_) {
    if (now - key.made_at < kAcceptedFor) {
      keys_[kept++] = key;
    }
  }
  OPENSSL_cleanse(keys_.data() + kept, (keys_.size() - kept) * sizeof(Key));
  keys_.resize(kept);
}

}  // namespace penstock::net
