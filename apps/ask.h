// Asks the books of a data directory: the server that owns it, or the ledger itself when none runs.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "apps/data_directory.h"

namespace tg::apps {

// The answer to one command of gateway/books.h; its {"error"} becomes an Error.
Result<nlohmann::json> ask(const DataDirectory& data, const std::string& command);

// The ledger account behind a name, made known to keys and ledger if `make`; kNotFound otherwise.
Result<u128> account_by_name(const DataDirectory& data, const std::string& name, bool make);

}  // namespace tg::apps
