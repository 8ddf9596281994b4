#include "meter/signer.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/hash.h"

namespace tg::meter {

namespace {

constexpr std::string_view kSignatureMark = "\xE2\x80\x94 ";  // em dash, space
constexpr u8 kEd25519 = 1;

struct KeyDeleter {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
struct ContextDeleter {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
using KeyPointer = std::unique_ptr<EVP_PKEY, KeyDeleter>;
using ContextPointer = std::unique_ptr<EVP_MD_CTX, ContextDeleter>;

std::string to_base64(std::span<const u8> bytes) {
  std::string out(4 * ((bytes.size() + 2) / 3), '\0');
  // EVP_EncodeBlock also writes a terminating zero, into the byte that std::string keeps for its
  // own.
  int n = EVP_EncodeBlock(reinterpret_cast<u8*>(out.data()), bytes.data(),
                          static_cast<int>(bytes.size()));
  TG_ASSERT(n == static_cast<int>(out.size()));
  return out;
}

Result<std::vector<u8>> from_base64(std::string_view text) {
  Error bad{Code::kInvalid, "note: not base64"};
  if (text.empty() || text.size() % 4 != 0) return bad;
  std::vector<u8> out(text.size() / 4 * 3);
  int n = EVP_DecodeBlock(out.data(), reinterpret_cast<const u8*>(text.data()),
                          static_cast<int>(text.size()));
  if (n < 0) return bad;
  std::size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  out.resize(static_cast<std::size_t>(n) - padding);
  // One encoding only: what we would write must be what came.
  if (to_base64(out) != text) return bad;
  return out;
}

bool is_key_name(std::string_view name) {
  return !name.empty() && name.find_first_of(" +\n\r\t") == std::string_view::npos && is_utf8(name);
}

}  // namespace

struct Signer::Key {
  KeyPointer pointer;
};

u32 key_id(std::string_view name, const PublicKey& key) {
  std::string bytes = std::string(name) + "\n" + static_cast<char>(kEd25519);
  bytes.append(as_text(key));
  Digest digest = sha256(bytes);
  return static_cast<u32>(digest[0]) << 24 | static_cast<u32>(digest[1]) << 16 |
         static_cast<u32>(digest[2]) << 8 | digest[3];
}

Result<Signer> Signer::create(std::string name, std::span<const u8> seed) {
  if (!is_key_name(name)) return Error{Code::kInvalid, "meter: '" + name + "' cannot name a key"};
  KeyPointer key(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed.data(), seed.size()));
  if (!key)
    return Error{Code::kInvalid,
                 "meter: a private key has 32 bytes, not " + std::to_string(seed.size())};
  Signer signer;
  signer.name_ = std::move(name);
  std::size_t length = signer.public_key_.size();
  TG_ASSERT(EVP_PKEY_get_raw_public_key(key.get(), signer.public_key_.data(), &length) == 1);
  signer.key_ = std::make_shared<Key>(Key{std::move(key)});
  return signer;
}

std::string Signer::sign(std::string_view text) const {
  TG_ASSERT(!text.empty() && text.back() == '\n');
  std::array<u8, 68> payload{};
  u32 id = key_id(name_, public_key_);
  for (std::size_t i = 0; i < 4; ++i) payload[i] = static_cast<u8>(id >> (24 - 8 * i));
  ContextPointer context(EVP_MD_CTX_new());
  std::size_t length = 64;
  TG_ASSERT(EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key_->pointer.get()) == 1);
  TG_ASSERT(EVP_DigestSign(context.get(), payload.data() + 4, &length,
                           reinterpret_cast<const u8*>(text.data()), text.size()) == 1);
  return fmt::format("{}\n{}{} {}\n", text, kSignatureMark, name_, to_base64(payload));
}

Result<Note> parse_note(std::string_view note) {
  if (static_cast<i64>(note.size()) > kNoteBytesMax) {
    return Error{Code::kLimit, "note: " + std::to_string(note.size()) + " bytes, the limit is " +
                                   std::to_string(kNoteBytesMax)};
  }
  if (!is_utf8(note)) return Error{Code::kInvalid, "note: not UTF-8"};
  std::string separator = "\n\n" + std::string(kSignatureMark);
  std::size_t cut = note.find(separator);
  if (cut == std::string_view::npos || !note.ends_with('\n')) {
    return Error{Code::kInvalid, "note: no signature line"};
  }
  std::string_view line = note.substr(cut + separator.size());
  line.remove_suffix(1);
  std::size_t space = line.find(' ');
  if (line.find('\n') != std::string_view::npos || space == std::string_view::npos) {
    return Error{Code::kInvalid, "note: exactly one signature line is expected"};
  }
  TG_ASSIGN(std::vector<u8> payload, from_base64(line.substr(space + 1)));
  if (payload.size() != 68) {
    return Error{Code::kInvalid,
                 "note: a signature has 68 bytes, not " + std::to_string(payload.size())};
  }
  Note out;
  out.text = note.substr(0, cut + 1);
  out.signer = line.substr(0, space);
  if (!is_key_name(out.signer))
    return Error{Code::kInvalid, "note: '" + out.signer + "' cannot name a key"};
  for (std::size_t i = 0; i < 4; ++i) out.key = out.key << 8 | payload[i];
  std::copy(payload.begin() + 4, payload.end(), out.signature.begin());
  return out;
}

bool verify_note(const Note& note, const PublicKey& key) {
  if (note.key != key_id(note.signer, key)) return false;
  KeyPointer pointer(
      EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, key.data(), key.size()));
  ContextPointer context(EVP_MD_CTX_new());
  return pointer &&
         EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, pointer.get()) == 1 &&
         EVP_DigestVerify(context.get(), note.signature.data(), note.signature.size(),
                          reinterpret_cast<const u8*>(note.text.data()), note.text.size()) == 1;
}

std::string verifier_key(std::string_view name, const PublicKey& key) {
  std::vector<u8> payload{kEd25519};
  payload.insert(payload.end(), key.begin(), key.end());
  return fmt::format("{}+{:08x}+{}", name, key_id(name, key), to_base64(payload));
}

Result<VerifierKey> parse_verifier_key(std::string_view text) {
  Error bad{Code::kInvalid, "verifier key: expected <name>+<key id>+<base64>"};
  std::size_t first = text.find('+');
  if (first == std::string_view::npos || text.size() < first + 10 || text[first + 9] != '+')
    return bad;
  TG_ASSIGN(std::vector<u8> payload, from_base64(text.substr(first + 10)));
  if (payload.size() != 33 || payload[0] != kEd25519) return bad;
  VerifierKey out;
  out.name = text.substr(0, first);
  std::copy(payload.begin() + 1, payload.end(), out.key.begin());
  if (verifier_key(out.name, out.key) != text) return bad;
  return out;
}

}  // namespace tg::meter
