// HTTP as values: a request that has been read, a response to be written, and which endpoint a path
// names. No sockets.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway/api_error.h"

namespace tg::gateway {

// What a request's headers say of its cost, as sent; see funds_terms.h.
struct FundsHeaders {
  std::string max_cost = {};
  std::string hold = {};
  std::string quote = {};
};

struct HttpRequest {
  std::string method;
  std::string target;  // As sent: path and query.
  std::string authorization;
  std::string api_key;  // x-api-key
  std::string content_type;
  std::string idempotency_key;
  // x-tokengrid-* headers, by lower-case name without that; a bounded number of them.
  std::vector<std::pair<std::string, std::string>> extensions;
  FundsHeaders funds;
  std::string body;
  bool keep_alive = false;
  bool is_http_1_0 = false;
};

struct HttpResponse {
  i32 status = 200;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
};

HttpResponse error_response(const ApiError& error, ErrorShape shape = ErrorShape::kOpenAi,
                            std::string_view request_id = "");

struct WriteOptions {
  bool keep_alive = true;
  bool is_head = false;  // Content-Length of the body, but no body.
  std::string_view request_id;
  std::string_view extra_headers = {};  // Whole lines.
};
std::string response_text(const HttpResponse& response, const WriteOptions& options);

// The head of a streamed reply: chunked, or ended by closing for HTTP/1.0 clients.
std::string stream_head_text(std::string_view request_id, std::string_view content_type,
                             bool is_chunked, bool keep_alive, std::string_view extra_headers = {});
// `text` as a header's value: printable ASCII, bounded.
std::string header_value(std::string_view text);
// `data` as one chunk. REQUIRES: data not empty.
std::string chunk_text(std::string_view data);
void append_chunk(std::string& out, std::string_view data);
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";

enum class Endpoint {
  kUnknown,
  kRoot,
  kHealth,
  kMetrics,
  kModels,
  kModel,
  kReceipt,
  kUsage,
  kUsageStream,
  kChatCompletions,
  kCompletions,
  kTokenize,
  kDetokenize,
  kEstimate,
  kRoute,
  kEmbeddings,
  kMessages,
  kCountTokens,
  kResponses,
  kResponse,
  kResponseCancel,
  kResponseItems,
  kInputTokens,
  kOllamaVersion,
  kOllamaTags,
  kOllamaShow,
  kOllamaChat,
  kOllamaGenerate,
  kOllamaEmbed,
  kAdmin,
  kAdminDocument,
  kOllamaEmbeddings,
  kFiles,
  kFile,
  kFileContent,
  kBatches,
  kBatch,
  kBatchCancel,
};

struct Route {
  Endpoint endpoint = Endpoint::kUnknown;
  std::string argument;    // Percent-decoded: a model's, receipt's or response's id.
  std::string_view allow;  // Methods that the endpoint answers, as in the Allow header.
};
// By path alone; whether the method is allowed is the caller's question.
Route route_of(std::string_view target);
// How the endpoint's API writes errors.
ErrorShape shape_of(Endpoint endpoint);
bool is_allowed(const Route& route, std::string_view method);

// The bearer token or x-api-key value; "" if there is none.
std::string_view credential_of(const HttpRequest& request);

// "%2F" → "/"; what is no such escape stays.
std::string percent_decoded(std::string_view text);

bool is_json_type(std::string_view content_type);

}  // namespace tg::gateway
