// /v1/files and /v1/batches. A batch's lines run like requests that a client sends, at batch class,
// under the limits and budgets of the key that made the batch; each under an idempotency key of its
// own, so that a restart neither loses nor repeats one.
#pragma once

#include <memory>

#include "gateway/batch/batch_book.h"
#include "gateway/net/completions.h"

namespace tg::gateway {

// Bytes of one upload.
inline constexpr i64 kUploadBytesMax = i64{64} << 20;
// Uploads that are being read at once; the others keep to the limit of other bodies.
inline constexpr i64 kUploadsMax = 4;

// A batch that runs. The loop's.
struct BatchRun {
  Batch batch;
  bool is_cancelled = false;
  bool is_finishing = false;  // Its files are being made: too late to cancel it.
};

bool is_batch_page(Endpoint endpoint);
awaitable<Served> serve_batches(GatewayState* state, HttpRequest request, Route route, KeyInfo key);

// Runs the batches that an earlier process left. Call once, when the loop begins.
awaitable<void> resume_batches(GatewayState* state);

}  // namespace tg::gateway
