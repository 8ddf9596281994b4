// Where things are when nobody says: the bundled model and the data directory.
#pragma once

#include <string>

#include "base/result.h"

namespace tg::apps {

// models/tokengrid-tiny.gguf beside the current directory or any folder above the executable.
Result<std::string> bundled_model();

// $XDG_DATA_HOME/tokengrid or ~/.local/share/tokengrid.
std::string default_data_directory();

}  // namespace tg::apps
