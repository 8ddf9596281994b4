#include "gateway/http.h"

#include <fmt/compile.h>
#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/assert.h"

namespace tg::gateway {
namespace {

constexpr std::string_view kRead = "GET, HEAD, OPTIONS";
constexpr std::string_view kPost = "POST, OPTIONS";
constexpr std::string_view kReadPost = "GET, HEAD, POST, OPTIONS";
constexpr std::string_view kAdmin = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
constexpr std::string_view kReadDelete = "GET, HEAD, DELETE, OPTIONS";

const char* reason_of(i32 status) {
  switch (status) {
    case 200: return "OK";
    case 201: return "Created";
    case 204: return "No Content";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 402: return "Payment Required";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 409: return "Conflict";
    case 408: return "Request Timeout";
    case 413: return "Content Too Large";
    case 415: return "Unsupported Media Type";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    default: return "Status";
  }
}

bool equals_ignoring_case(std::string_view a, std::string_view b) {
  auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](char x, char y) { return lower(x) == lower(y); });
}

i32 hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

struct Path {
  std::string_view path;
  Endpoint endpoint;
  std::string_view allow;
};
constexpr Path kPaths[] = {
    {"/", Endpoint::kRoot, kRead},
    {"/health", Endpoint::kHealth, kRead},
    {"/metrics", Endpoint::kMetrics, kRead},
    {"/v1/models", Endpoint::kModels, kRead},
    {"/v1/usage", Endpoint::kUsage, kRead},
    {"/v1/usage/stream", Endpoint::kUsageStream, kRead},
    {"/v1/chat/completions", Endpoint::kChatCompletions, kPost},
    {"/v1/completions", Endpoint::kCompletions, kPost},
    {"/v1/estimate", Endpoint::kEstimate, kPost},
    {"/v1/route", Endpoint::kRoute, kPost},
    {"/v1/files", Endpoint::kFiles, kReadPost},
    {"/v1/batches", Endpoint::kBatches, kReadPost},
    {"/v1/embeddings", Endpoint::kEmbeddings, kPost},
    {"/tokenize", Endpoint::kTokenize, kPost},
    {"/detokenize", Endpoint::kDetokenize, kPost},
    {"/v1/messages", Endpoint::kMessages, kPost},
    {"/v1/messages/count_tokens", Endpoint::kCountTokens, kPost},
    {"/v1/responses", Endpoint::kResponses, kPost},
    {"/v1/responses/input_tokens", Endpoint::kInputTokens, kPost},
    {"/api/version", Endpoint::kOllamaVersion, kRead},
    {"/api/tags", Endpoint::kOllamaTags, kRead},
    {"/api/show", Endpoint::kOllamaShow, kPost},
    {"/api/chat", Endpoint::kOllamaChat, kPost},
    {"/api/generate", Endpoint::kOllamaGenerate, kPost},
    {"/api/embed", Endpoint::kOllamaEmbed, kPost},
    {"/admin/v1/openapi.json", Endpoint::kAdminDocument, kRead},
    {"/api/embeddings", Endpoint::kOllamaEmbeddings, kPost},
};
// `suffix` follows the argument. The first that fits counts.
struct Pattern {
  std::string_view prefix;
  std::string_view suffix;
  Endpoint endpoint;
  std::string_view allow;
};
constexpr Pattern kPatterns[] = {
    {"/v1/models/", "", Endpoint::kModel, kRead},
    {"/v1/receipts/", "", Endpoint::kReceipt, kRead},
    {"/v1/responses/", "/cancel", Endpoint::kResponseCancel, kPost},
    {"/v1/responses/", "/input_items", Endpoint::kResponseItems, kRead},
    {"/v1/responses/", "", Endpoint::kResponse, kReadDelete},
    {"/v1/files/", "/content", Endpoint::kFileContent, kRead},
    {"/v1/files/", "", Endpoint::kFile, kReadDelete},
    {"/v1/batches/", "/cancel", Endpoint::kBatchCancel, kPost},
    {"/v1/batches/", "", Endpoint::kBatch, kRead},
    {"/admin/v1/", "", Endpoint::kAdmin, kAdmin},
};

// Bearer tokens, not cookies, say who asks; so any origin may.
constexpr std::string_view kCrossOrigin =
    "access-control-allow-origin: *\r\n"
    "access-control-expose-headers: x-request-id, x-tokengrid-nominal-nst, "
    "x-tokengrid-receipt-id, x-tokengrid-route, retry-after, x-ratelimit-limit-requests, "
    "x-ratelimit-remaining-requests, x-ratelimit-reset-requests, x-ratelimit-limit-tokens, "
    "x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens\r\n";

// Of most heads.
constexpr std::size_t kHeadBytes = 1'024;

void append_head(std::string& out, i32 status, std::string_view content_type,
                 std::string_view request_id, bool keep_alive) {
  fmt::format_int number(status);
  out.append("HTTP/1.1 ").append(number.data(), number.size()).append(" ");
  out.append(reason_of(status)).append("\r\ncontent-type: ").append(content_type);
  out.append("\r\nx-request-id: ").append(request_id);
  out.append(keep_alive ? "\r\nconnection: keep-alive\r\n" : "\r\nconnection: close\r\n");
  out.append(kCrossOrigin);
}

}  // namespace

std::string percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    bool has_two = text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 &&
                   hex_digit(text[i + 2]) >= 0;
    if (!has_two) {
      out.push_back(text[i]);
      continue;
    }
    out.push_back(static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2])));
    i += 2;
  }
  return out;
}

HttpResponse error_response(const ApiError& error, ErrorShape shape, std::string_view request_id) {
  HttpResponse response{.status = error.status, .body = error_json(error, shape, request_id)};
  if (error.retry_after_s >= 0) {
    response.headers.emplace_back("retry-after", std::to_string(error.retry_after_s));
  }
  if (error.status == 401) response.headers.emplace_back("www-authenticate", "Bearer");
  // Clients retry 429 by themselves; a spent balance does not heal by waiting.
  if (error.status == 402 || error.is_final)
    response.headers.emplace_back("x-should-retry", "false");
  if (!error.allow.empty()) response.headers.emplace_back("allow", error.allow);
  return response;
}

std::string response_text(const HttpResponse& response, const WriteOptions& options) {
  std::string out;
  out.reserve(kHeadBytes + options.extra_headers.size() + response.body.size());
  append_head(out, response.status, response.content_type, options.request_id, options.keep_alive);
  for (const auto& [name, value] : response.headers) {
    TG_ASSERT(value.find_first_of("\r\n") == std::string::npos);
    out.append(name).append(": ").append(value).append("\r\n");
  }
  out += options.extra_headers;
  if (response.status != 204) {
    fmt::format_int size(response.body.size());
    out.append("content-length: ").append(size.data(), size.size()).append("\r\n");
  }
  out += "\r\n";
  if (!options.is_head) out += response.body;
  return out;
}

std::string stream_head_text(std::string_view request_id, std::string_view content_type,
                             bool is_chunked, bool keep_alive, std::string_view extra_headers) {
  TG_ASSERT(is_chunked || !keep_alive);
  std::string out;
  out.reserve(kHeadBytes);
  append_head(out, 200, content_type, request_id, keep_alive);
  // Proxies must neither cache nor collect a stream.
  out += "cache-control: no-cache\r\nx-accel-buffering: no\r\n";
  if (is_chunked) out += "transfer-encoding: chunked\r\n";
  out.append(extra_headers).append("\r\n");
  return out;
}

std::string header_value(std::string_view text) {
  constexpr std::size_t kBytesMax = 1'024;
  std::string out(text.substr(0, kBytesMax));
  for (char& c : out) {
    if (c < ' ' || c > '~') c = '?';
  }
  return out;
}

std::string chunk_text(std::string_view data) {
  std::string out;
  append_chunk(out, data);
  return out;
}

void append_chunk(std::string& out, std::string_view data) {
  TG_ASSERT(!data.empty());
  fmt::format_to(std::back_inserter(out), FMT_COMPILE("{:x}\r\n"), data.size());
  out.append(data).append("\r\n");
}

Route route_of(std::string_view target) {
  std::string_view path = target.substr(0, target.find_first_of("?#"));
  for (const Path& known : kPaths) {
    if (path == known.path) return {.endpoint = known.endpoint, .allow = known.allow};
  }
  for (const Pattern& known : kPatterns) {
    std::size_t fixed = known.prefix.size() + known.suffix.size();
    bool fits =
        path.size() > fixed && path.starts_with(known.prefix) && path.ends_with(known.suffix);
    if (!fits) continue;
    std::string_view argument = path.substr(known.prefix.size(), path.size() - fixed);
    return {
        .endpoint = known.endpoint, .argument = percent_decoded(argument), .allow = known.allow};
  }
  return {};
}

ErrorShape shape_of(Endpoint endpoint) {
  switch (endpoint) {
    case Endpoint::kMessages:
    case Endpoint::kCountTokens: return ErrorShape::kAnthropic;
    case Endpoint::kOllamaVersion:
    case Endpoint::kOllamaTags:
    case Endpoint::kOllamaShow:
    case Endpoint::kOllamaChat:
    case Endpoint::kOllamaGenerate:
    case Endpoint::kOllamaEmbed:
    case Endpoint::kOllamaEmbeddings: return ErrorShape::kOllama;
    default: return ErrorShape::kOpenAi;
  }
}

bool is_allowed(const Route& route, std::string_view method) {
  std::string_view rest = route.allow;
  while (!rest.empty()) {
    std::size_t comma = std::min(rest.find(','), rest.size());
    if (rest.substr(0, comma) == method) return true;
    rest.remove_prefix(std::min(comma + 2, rest.size()));
  }
  return false;
}

std::string_view credential_of(const HttpRequest& request) {
  constexpr std::string_view kBearer = "bearer ";
  std::string_view text = request.authorization;
  if (text.size() > kBearer.size() &&
      equals_ignoring_case(text.substr(0, kBearer.size()), kBearer)) {
    text.remove_prefix(kBearer.size());
    text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
    return text;
  }
  return request.api_key;
}

bool is_json_type(std::string_view content_type) {
  std::string_view type = content_type.substr(0, content_type.find(';'));
  while (type.ends_with(' ')) type.remove_suffix(1);
  return equals_ignoring_case(type, "application/json");
}

}  // namespace tg::gateway
