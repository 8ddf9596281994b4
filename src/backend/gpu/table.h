// The C ABI of a Port. A backend's own file is a Port and a table made by this.
#pragma once

#include "backend/gpu/port.h"

namespace tg::backend::gpu {

// For dev_count and dev_open, which no handle names a port for.
tg_status count_devices(Port& port, uint32_t* count);
tg_status open_device(Port& port, uint32_t index, tg_dev* device);

// All functions but dev_count and dev_open.
tg_backend common_table(const char* name);

template <Port& (*kPort)()>
tg_backend make_table(const char* name) {
  tg_backend table = common_table(name);
  table.dev_count = [](uint32_t* count) { return count_devices(kPort(), count); };
  table.dev_open = [](uint32_t index, tg_dev* device) {
    return open_device(kPort(), index, device);
  };
  return table;
}

}  // namespace tg::backend::gpu
