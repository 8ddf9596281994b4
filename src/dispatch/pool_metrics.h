// A pool's state as Prometheus text. Labels are suppliers' names: as many as the pool has.
#pragma once

#include <string>

#include "dispatch/pool.h"

namespace tg::dispatch {

std::string pool_metrics(const PoolStatus& status);

}  // namespace tg::dispatch
