// The binary form of programs (.tgp): one program, one byte string, one hash (isa.md §7).
//
// Little-endian 32-bit words. Header of 32 bytes, then sections in order of id, each an id word
// (bit 31: critical), a count of payload words, and the payload, padded to 8 bytes; empty sections
// are left out. Words by section:
//   STR   count; then length byte and bytes of each string, sorted, unique; zeros to the word
//   REQ   profile bits; count; (opcode | version << 16) of each op used, ascending
//   SYM   bounds of T, S, R, C
//   WGT   count; per weight: name | layers << 12 | rank-1 << 24 | codec << 26; dimensions
//   KV    count; per cache: name | format << 16 | is_state << 24 | has latent << 25; layers; heads;
//         dk; dv; page tokens; the latent channels if any
//   FUNC  count; per function: name | when_fresh << 16; parameters, results, types, values, code
//   words;
//         types; type index of each value, two to a word; result ids; code
//   CONST count; per constant: name | dtype << 16 | rank << 24; dimensions; bytes to the word
//   COST  per function: entries, windows, experts; entries (counter | group << 8, u64); windows
//         (window | kind << 28, 3 u64); experts (experts, active, layers, u64)
//   META  the first word of the SHA-256 of what follows; count; per entry: key bytes, value bytes;
//   key and value, zeros to the word each
// META is outside the program's identity, so it carries a check of its own: no byte of a program
// can change without a new id or a refusal. A type: kind | dtype << 8 | rank << 16, then its
// dimensions. A dimension is a constant below 2^28, or 0x4000000N for one T, S or R (N = 0, 1, 2),
// or 0x80000000 and the words constant, t, s, r. An instruction: opcode | words << 16; attributes |
// operands << 8 | results << 16 | version << 24; result ids; operands (index | layer << 16 | mode
// << 28 | kind << 30); attributes (words | key
// << 16, then the words). Parameters are values 0..n-1.
#pragma once

#include <vector>

#include "isa/program.h"

namespace tg::isa {

inline constexpr u32 kMagic = 0x31504754;  // "TGP1"
inline constexpr u32 kCriticalBit = 0x80000000;

enum class Section : u32 {
  kStrings = 1,
  kRequirements,
  kSymbols,
  kWeights,
  kKv,
  kFunctions,
  kConstants,
  kCost,
  kMeta,
  kCount
};

// The canonical bytes. REQUIRES: `program` passed every rule but V17 (so every field fits).
std::vector<u8> encode(const Program& program);

// Reads what encode() writes and refuses everything else (M1-M7); the program is not yet verified.
Result<Program> decode(std::span<const u8> bytes);

// SHA-256 over the critical sections of canonical bytes. REQUIRES: `bytes` came from encode().
Digest program_id(std::span<const u8> bytes);

}  // namespace tg::isa
