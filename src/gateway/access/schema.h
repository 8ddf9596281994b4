// The tables of gateway.db and how older files become the newest. A file keeps working: versions
// are only ever added.
#pragma once

#include "gateway/sqlite.h"

namespace tg::gateway {

inline constexpr i64 kSchemaVersion = 2;

// Where keys of before there were projects went, and where those made without one go.
inline constexpr const char* kDefaultOrganisation = "org_0000000000000001";
inline constexpr const char* kDefaultTeam = "team_0000000000000002";

// Brings the file to kSchemaVersion, in one transaction. kUnsupported if a newer build wrote it.
Status migrate(Database& db, const std::string& path);

}  // namespace tg::gateway
