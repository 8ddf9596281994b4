// What a log publishes and a buyer keeps, as text: checkpoints (C2SP tlog-checkpoint), proofs that
// an entry is in one (tlog-proof), and proofs that one begins with another.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tlog/merkle.h"
#include "tlog/note.h"

namespace tg::tlog {

// The head of a log's tree: three lines, signed as a note. Extension lines are refused.
struct Checkpoint {
  std::string origin;  // the log's name; no spaces, no plus
  TreeHead head;
};
std::string to_text(const Checkpoint& checkpoint);
Result<Checkpoint> parse_checkpoint(std::string_view text);

// An entry's place in a log, complete for somebody offline who has the entry and the log's key.
struct LogProof {
  std::vector<u8> extra;  // not authenticated by the log
  u64 index = 0;
  std::vector<Hash> path;
  Note checkpoint;
};
std::string to_text(const LogProof& proof);
Result<LogProof> parse_log_proof(std::string_view text);

// kInvalid naming what fails: the signature, the suite of the key, or the path to the root.
Result<Checkpoint> check_log_proof(Hasher& hasher, const LogProof& proof, std::string_view entry,
                                   const VerifierKey& key);

// "tokengrid-consistency/1", the two sizes, a line for each hash.
struct ConsistencyProof {
  u64 from = 0;
  u64 to = 0;
  std::vector<Hash> hashes;
};
std::string to_text(const ConsistencyProof& proof);
Result<ConsistencyProof> parse_consistency_proof(std::string_view text);

// Decimal without leading zeros, at most kTreeSizeMax.
Result<u64> parse_size(std::string_view text);

}  // namespace tg::tlog
