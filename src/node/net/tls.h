// TLS for the node protocol: both sides show a certificate.
#pragma once

#include <span>

#include "node/net/link.h"
#include "node/node_server.h"

namespace tg::node {

// kInvalid names the file that cannot be used.
Status configure_tls(asio::ssl::context& context, const NodeTls& files, bool is_server);

// Bytes that only the two ends of this TLS session know, the same on both.
Result<std::vector<u8>> session_exporter(TlsStream& stream);

}  // namespace tg::node
