// The ledgers of a data directory: the one that has the accounts, and, of a gateway that leases,
// its own beside it, which requests are served from.
#pragma once

#include <memory>
#include <optional>

#include "apps/config.h"
#include "apps/data_directory.h"
#include "env/clock.h"
#include "gateway/archive.h"
#include "ledger/lease_service.h"
#include "ledger/service.h"

namespace tg::apps {

struct Ledgers {
  std::unique_ptr<ledger::Service> accounts;
  std::unique_ptr<ledger::Service> own;  // Only of a gateway that leases.

  ledger::Service& served() { return own != nullptr ? *own : *accounts; }
};

// As the directory has them, or as `config` makes them. A directory that has served with leases or
// without goes on so: its receipts are of the one ledger or the other.
Result<Ledgers> open_ledgers(const DataDirectory& data, const ServeConfig& config, Clock& clock);
// As the directory has them.
Result<Ledgers> open_ledgers(const DataDirectory& data, Clock& clock);

ledger::LeaseServiceOptions lease_options(const ServeConfig& config);

// Of a gateway that leases: what it has to be had from the others, and theirs from it.
std::unique_ptr<gateway::Archive> open_archive(const DataDirectory& data, Ledgers& ledgers,
                                               Clock& clock);

}  // namespace tg::apps
