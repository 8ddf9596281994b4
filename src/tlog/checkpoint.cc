#include "tlog/checkpoint.h"

#include <fmt/format.h>

#include <charconv>

#include "base/assert.h"

namespace tg::tlog {

namespace {

constexpr std::string_view kProofMagic = "c2sp.org/tlog-proof@v1";
constexpr std::string_view kConsistencyMagic = "tokengrid-consistency/1";

bool is_origin(std::string_view text) {
  return !text.empty() && text.find_first_of(" +\n\r\t") == std::string_view::npos;
}

// Takes the next line off `rest`; nullopt if there is no whole one.
std::optional<std::string_view> take_line(std::string_view& rest) {
  std::size_t end = rest.find('\n');
  if (end == std::string_view::npos) return std::nullopt;
  std::string_view line = rest.substr(0, end);
  rest.remove_prefix(end + 1);
  return line;
}

// The rest of the next line, which must begin with `key` and a space.
Result<std::string_view> take_field(std::string_view& rest, std::string_view key) {
  std::optional<std::string_view> line = take_line(rest);
  if (!line || !line->starts_with(key) || !line->substr(key.size()).starts_with(' '))
    return Error{Code::kInvalid, fmt::format("proof: expected a line '{} ...'", key)};
  return line->substr(key.size() + 1);
}

// Lines of hashes up to an empty line or the end.
Result<std::vector<Hash>> take_hashes(std::string_view& rest) {
  std::vector<Hash> out;
  while (!rest.empty()) {
    std::optional<std::string_view> line = take_line(rest);
    if (!line) return Error{Code::kInvalid, "proof: the last line has no end"};
    if (line->empty()) return out;
    if (out.size() == kProofHashesMax)
      return Error{Code::kLimit, fmt::format("proof: over {} hashes", kProofHashesMax)};
    TG_ASSIGN(Hash hash, hash_from_base64(*line));
    out.push_back(hash);
  }
  return out;
}

Status expect_magic(std::string_view& rest, std::string_view magic) {
  if (take_line(rest) == magic) return {};
  return Error{Code::kInvalid, fmt::format("proof: does not begin with {}", magic)};
}

}  // namespace

Result<u64> parse_size(std::string_view text) {
  u64 value = 0;
  std::from_chars_result end = std::from_chars(text.data(), text.data() + text.size(), value);
  bool whole = end.ec == std::errc() && end.ptr == text.data() + text.size();
  if (!whole || (text.size() > 1 && text[0] == '0') || value > kTreeSizeMax) {
    // The text is not repeated: it may hold anything.
    return Error{Code::kInvalid, "log: a size or index is a whole number of at most 2^56"};
  }
  return value;
}

std::string to_text(const Checkpoint& checkpoint) {
  TG_ASSERT(is_origin(checkpoint.origin));
  return fmt::format("{}\n{}\n{}\n", checkpoint.origin, checkpoint.head.size,
                     to_base64(checkpoint.head.root));
}

Result<Checkpoint> parse_checkpoint(std::string_view text) {
  std::optional<std::string_view> origin = take_line(text);
  std::optional<std::string_view> size = take_line(text);
  std::optional<std::string_view> root = take_line(text);
  if (!origin || !size || !root || !is_origin(*origin) || !text.empty())
    return Error{Code::kInvalid, "checkpoint: expected an origin, a size and a root"};
  Checkpoint out{.origin = std::string(*origin), .head = {}};
  TG_ASSIGN(out.head.size, parse_size(*size));
  TG_ASSIGN(out.head.root, hash_from_base64(*root));
  return out;
}

std::string to_text(const LogProof& proof) {
  std::string out = fmt::format("{}\n", kProofMagic);
  if (!proof.extra.empty()) out += fmt::format("extra {}\n", to_base64(proof.extra));
  out += fmt::format("index {}\n", proof.index);
  for (const Hash& hash : proof.path) out += to_base64(hash) + "\n";
  return out + "\n" + to_text(proof.checkpoint);
}

Result<LogProof> parse_log_proof(std::string_view text) {
  std::string_view rest = text;
  TG_TRY(expect_magic(rest, kProofMagic));
  LogProof out;
  if (rest.starts_with("extra ")) {
    TG_ASSIGN(std::string_view extra, take_field(rest, "extra"));
    TG_ASSIGN(out.extra, from_base64(extra));
  }
  TG_ASSIGN(std::string_view index, take_field(rest, "index"));
  TG_ASSIGN(out.index, parse_size(index));
  TG_ASSIGN(out.path, take_hashes(rest));
  TG_ASSIGN(out.checkpoint, parse_note(rest));
  if (to_text(out) != text) return Error{Code::kInvalid, "proof: not in canonical form"};
  return out;
}

Result<Checkpoint> check_log_proof(Hasher& hasher, const LogProof& proof, std::string_view entry,
                                   const VerifierKey& key) {
  if (key.suite != hasher.suite() || key.use != KeyUse::kNote)
    return Error{Code::kInvalid, fmt::format("the key is not of {}", name(hasher.suite()))};
  switch (check_note(proof.checkpoint, key)) {
    case NoteCheck::kSigned: break;
    case NoteCheck::kNotSigned:
      return Error{Code::kInvalid, "the checkpoint is not signed by " + key.name};
    case NoteCheck::kBadSignature:
      return Error{Code::kInvalid, "the signature of " + key.name + " does not match"};
  }
  TG_ASSIGN(Checkpoint checkpoint, parse_checkpoint(proof.checkpoint.text));
  if (!verify_inclusion(hasher, hasher.leaf(entry), proof.index, checkpoint.head.size, proof.path,
                        checkpoint.head.root))
    return Error{Code::kInvalid, "the path does not lead to the checkpoint's root"};
  return checkpoint;
}

std::string to_text(const ConsistencyProof& proof) {
  std::string out = fmt::format("{}\nfrom {}\nto {}\n", kConsistencyMagic, proof.from, proof.to);
  for (const Hash& hash : proof.hashes) out += to_base64(hash) + "\n";
  return out;
}

Result<ConsistencyProof> parse_consistency_proof(std::string_view text) {
  std::string_view rest = text;
  TG_TRY(expect_magic(rest, kConsistencyMagic));
  ConsistencyProof out;
  TG_ASSIGN(std::string_view from, take_field(rest, "from"));
  TG_ASSIGN(out.from, parse_size(from));
  TG_ASSIGN(std::string_view to, take_field(rest, "to"));
  TG_ASSIGN(out.to, parse_size(to));
  TG_ASSIGN(out.hashes, take_hashes(rest));
  if (to_text(out) != text) return Error{Code::kInvalid, "proof: not in canonical form"};
  return out;
}

}  // namespace tg::tlog
