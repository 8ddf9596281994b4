// The JSON of lists and single things that are no replies of a model, in OpenAI's shapes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "gateway/access/identity.h"
#include "gateway/served_model.h"

namespace tg::gateway {

std::string model_json(const ServedModel& model);
// Those that `standing` allows, if it is given.
std::string models_json(const std::vector<ServedModel>& models, const Standing* standing = nullptr);

// Characters (code points) in well-formed UTF-8.
i64 character_count(std::string_view text);

}  // namespace tg::gateway
