// The non-template code of Asio, its SSL part and Beast, compiled once (separate compilation). A
// binary that also links the gateway finds the same symbols there first and leaves these out.
#include <boost/asio/impl/src.hpp>
#include <boost/asio/ssl/impl/src.hpp>
#include <boost/beast/src.hpp>
