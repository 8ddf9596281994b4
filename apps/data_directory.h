// What a server keeps: the ledger, keys, the meter's signing key, the programs that priced its
// receipts.
//   ledger.log        accounts, transfers, receipts (src/ledger); ledger.sqlite if so configured
//   gateway.db        API keys, hashed, and account names (src/gateway/keys.h)
//   meter.seed        private key of the meter, mode 0600;  meter.pub: its verifier key, for buyers
//   receipts/         the meter's log, public but for `pages` (src/meter/receipt_log.h)
//   programs/ID.tgp   every program served from here, by id
//   first-key         the key made on the first start, mode 0600
//   control.sock      where a running server answers the command line (src/gateway/control.h)
#pragma once

#include <string>

#include "base/result.h"
#include "env/random.h"
#include "isa/program.h"
#include "tlog/note.h"

namespace tg::apps {

struct DataDirectory {
  std::string path;

  std::string file(const std::string& name) const { return path + "/" + name; }
};

// Creates it if needed; an error if it cannot be written to.
Result<DataDirectory> open_data_directory(const std::string& path);
// An error if it is not there.
Result<DataDirectory> existing_data_directory(const std::string& path);

// The meter's signer, made on first use under the name "meter-<8 hex digits>" and of `suite`; one
// that exists keeps its own.
Result<tlog::NoteSigner> load_or_make_signer(const DataDirectory& data, Random& random,
                                             tlog::Suite suite = tlog::Suite::kEd25519Sha256);
Result<tlog::VerifierKey> load_verifier_key(const DataDirectory& data);

Status save_program(const DataDirectory& data, const isa::VerifiedProgram& program);
Result<isa::VerifiedProgram> load_program(const DataDirectory& data, const Digest& id);

}  // namespace tg::apps
