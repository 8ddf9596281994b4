// The query that OpenAI's lists take: which page, and in which order.
#pragma once

#include <string_view>

#include "base/result.h"
#include "gateway/batch/batch_book.h"

namespace tg::gateway {

// Of a request's target. kInvalid names the field and its value; other fields are not looked at.
Result<ListQuery> list_query(std::string_view target, i64 limit_max);

}  // namespace tg::gateway
