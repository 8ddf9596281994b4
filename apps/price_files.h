// Rate cards and plans: read from the files that a configuration names, kept in the data directory
// so that what was priced and sold can be looked up later.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apps/data_directory.h"
#include "market/funding/catalogue.h"
#include "market/settle.h"

namespace tg::apps {

// nullopt for no files.
Result<std::optional<market::RateBook>> load_rates(const std::vector<std::string>& files);
// Every card's canonical text as rates/<digest>, where a receipt's reader finds it.
Status save_rates(const DataDirectory& data, const market::RateBook& rates);

// Checks the catalogue and keeps it as DATA/plans.toml.
Status save_plans(const DataDirectory& data, const std::string& file);
// What is kept; none if there is nothing.
Result<std::vector<market::Plan>> load_plans(const DataDirectory& data);

}  // namespace tg::apps
