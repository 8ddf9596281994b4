#include "tlog/note.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <charconv>

#include "base/assert.h"
#include "base/bytes.h"

namespace tg::tlog {

namespace {

constexpr std::string_view kSignatureMark = "\xE2\x80\x94 ";  // em dash, space
constexpr u8 kEd25519Type = 1;
constexpr u8 kCosignatureType = 4;
constexpr std::string_view kSm2Type = "\xFFtokengrid/sm2-sm3";
constexpr std::size_t kTimeBytes = 8;
constexpr std::size_t kBase64Max = std::size_t{1} << 28;

bool is_key_name(std::string_view name) {
  return !name.empty() && name.find_first_of(" +\n\r\t") == std::string_view::npos && is_utf8(name);
}

std::string type_bytes(const VerifierKey& key) {
  if (key.suite == Suite::kSm2Sm3) return std::string(kSm2Type);
  u8 type = key.use == KeyUse::kCosignature ? kCosignatureType : kEd25519Type;
  return std::string(1, static_cast<char>(type));
}

std::string typed_key(const VerifierKey& key) {
  return type_bytes(key) + std::string(as_text(key.public_key));
}

std::string cosigned_message(u64 unix_seconds, std::string_view text) {
  return fmt::format("cosignature/v1\ntime {}\n{}", unix_seconds, text);
}

u64 big_endian(std::span<const u8> bytes) {
  u64 value = 0;
  for (u8 byte : bytes) value = value << 8 | byte;
  return value;
}

void append_big_endian(std::vector<u8>& out, u64 value, int bytes) {
  for (int i = bytes - 1; i >= 0; --i) out.push_back(static_cast<u8>(value >> (8 * i)));
}

Result<NoteSignature> parse_signature(std::string_view line) {
  Error bad{Code::kInvalid, "note: a signature line is '\xE2\x80\x94 <name> <base64>'"};
  if (!line.starts_with(kSignatureMark)) return bad;
  line.remove_prefix(kSignatureMark.size());
  std::size_t space = line.find(' ');
  if (space == std::string_view::npos) return bad;
  NoteSignature out;
  out.name = line.substr(0, space);
  if (!is_key_name(out.name)) return bad;
  TG_ASSIGN(std::vector<u8> payload, from_base64(line.substr(space + 1)));
  if (payload.size() <= 4) return bad;
  out.key = static_cast<u32>(big_endian(std::span<const u8>(payload).first(4)));
  out.bytes.assign(payload.begin() + 4, payload.end());
  return out;
}

bool has_control_characters(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return static_cast<u8>(c) < 0x20 && c != '\n'; });
}

}  // namespace

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
  if (text.empty() || text.size() % 4 != 0 || text.size() > kBase64Max) return bad;
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

Result<Hash> hash_from_base64(std::string_view text) {
  TG_ASSIGN(std::vector<u8> bytes, from_base64(text));
  Hash out;
  if (bytes.size() != out.size()) {
    return Error{Code::kInvalid, fmt::format("note: a hash has 32 bytes, not {}", bytes.size())};
  }
  std::copy(bytes.begin(), bytes.end(), out.begin());
  return out;
}

// --- keys ---------------------------------------------------------------------------------------

u32 key_id(const VerifierKey& key) {
  Digest digest = sha256(key.name + "\n" + typed_key(key));
  return static_cast<u32>(big_endian(std::span<const u8>(digest).first(4)));
}

std::string to_text(const VerifierKey& key) {
  return fmt::format("{}+{:08x}+{}", key.name, key_id(key), to_base64(as_bytes(typed_key(key))));
}

Result<VerifierKey> parse_verifier_key(std::string_view text) {
  Error bad{Code::kInvalid, "verifier key: expected <name>+<key id>+<base64>"};
  std::size_t first = text.find('+');
  if (first == std::string_view::npos || text.size() < first + 10 || text[first + 9] != '+')
    return bad;
  Result<std::vector<u8>> payload = from_base64(text.substr(first + 10));
  if (!payload.ok()) return bad;
  VerifierKey out;
  out.name = text.substr(0, first);
  std::size_t type_size = 1;
  if (as_text(*payload).starts_with(kSm2Type)) {
    out.suite = Suite::kSm2Sm3;
    type_size = kSm2Type.size();
  } else if ((*payload)[0] == kCosignatureType) {
    out.use = KeyUse::kCosignature;
  } else if ((*payload)[0] != kEd25519Type) {
    return Error{Code::kUnsupported,
                 fmt::format("verifier key: type {} is not known", (*payload)[0])};
  }
  out.public_key.assign(payload->begin() + static_cast<std::ptrdiff_t>(type_size), payload->end());
  std::size_t key_size = out.suite == Suite::kSm2Sm3 ? 65 : 32;
  if (out.public_key.size() != key_size || !is_key_name(out.name) || to_text(out) != text)
    return bad;
  return out;
}

// --- notes --------------------------------------------------------------------------------------

std::string to_text(const Note& note) {
  std::string out = note.text + "\n";
  for (const NoteSignature& signature : note.signatures) {
    std::vector<u8> payload;
    append_big_endian(payload, signature.key, 4);
    payload.insert(payload.end(), signature.bytes.begin(), signature.bytes.end());
    out += fmt::format("{}{} {}\n", kSignatureMark, signature.name, to_base64(payload));
  }
  return out;
}

Result<Note> parse_note(std::string_view text) {
  if (text.size() > kNoteBytesMax) {
    return Error{Code::kLimit,
                 fmt::format("note: {} bytes, the limit is {}", text.size(), kNoteBytesMax)};
  }
  if (!is_utf8(text) || has_control_characters(text))
    return Error{Code::kInvalid, "note: not UTF-8 without control characters"};
  std::size_t cut = text.rfind("\n\n");
  if (cut == std::string_view::npos || !text.ends_with('\n') || cut + 2 == text.size())
    return Error{Code::kInvalid, "note: no signature line"};
  Note out;
  out.text = text.substr(0, cut + 1);
  std::string_view lines = text.substr(cut + 2);
  while (!lines.empty()) {
    if (out.signatures.size() == kNoteSignaturesMax)
      return Error{Code::kLimit, fmt::format("note: over {} signatures", kNoteSignaturesMax)};
    std::size_t end = lines.find('\n');
    TG_ASSIGN(NoteSignature signature, parse_signature(lines.substr(0, end)));
    out.signatures.push_back(std::move(signature));
    lines.remove_prefix(end + 1);
  }
  return out;
}

static bool verifies(const Note& note, const NoteSignature& signature, const VerifierKey& key) {
  std::span<const u8> bytes = signature.bytes;
  if (key.use == KeyUse::kNote)
    return verify_signature(key.suite, key.public_key, note.text, bytes);
  if (bytes.size() <= kTimeBytes) return false;
  std::string message = cosigned_message(big_endian(bytes.first(kTimeBytes)), note.text);
  return verify_signature(key.suite, key.public_key, message, bytes.subspan(kTimeBytes));
}

NoteCheck check_note(const Note& note, const VerifierKey& key) {
  NoteCheck result = NoteCheck::kNotSigned;
  u32 id = key_id(key);
  for (const NoteSignature& signature : note.signatures) {
    if (signature.name != key.name || signature.key != id) continue;
    if (!verifies(note, signature, key)) return NoteCheck::kBadSignature;
    result = NoteCheck::kSigned;
  }
  return result;
}

Result<NoteSigner> NoteSigner::create(std::string name, Suite suite, std::span<const u8> seed) {
  if (!is_key_name(name)) return Error{Code::kInvalid, "key: '" + name + "' cannot name a key"};
  TG_ASSIGN(PrivateKey key, PrivateKey::create(suite, seed));
  VerifierKey verifier{.name = std::move(name), .suite = suite, .public_key = key.public_key()};
  return NoteSigner(std::move(verifier), std::move(key));
}

NoteSignature NoteSigner::sign(std::string_view text) const {
  TG_ASSERT(text.ends_with('\n'));
  SignatureBytes signature = key_.sign(text);
  return NoteSignature{.name = verifier_.name,
                       .key = key_id(verifier_),
                       .bytes = {signature.begin(), signature.end()}};
}

NoteSignature cosign(std::string_view text, const std::string& name, const PrivateKey& key,
                     u64 unix_seconds) {
  TG_ASSERT(key.suite() == Suite::kEd25519Sha256);
  VerifierKey verifier{.name = name, .use = KeyUse::kCosignature, .public_key = key.public_key()};
  NoteSignature out{.name = name, .key = key_id(verifier), .bytes = {}};
  append_big_endian(out.bytes, unix_seconds, kTimeBytes);
  SignatureBytes signature = key.sign(cosigned_message(unix_seconds, text));
  out.bytes.insert(out.bytes.end(), signature.begin(), signature.end());
  return out;
}

}  // namespace tg::tlog
