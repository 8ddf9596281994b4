# Boost's headers are heavy: only the files of net/ see them, precompiled; Asio's, its SSL part's and Beast's own code
# is compiled once, in net/asio_impl.cc.
file(GLOB gateway_plain CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.cc
  ${CMAKE_CURRENT_LIST_DIR}/dialect/*.cc ${CMAKE_CURRENT_LIST_DIR}/access/*.cc
  ${CMAKE_CURRENT_LIST_DIR}/admin/*.cc ${CMAKE_CURRENT_LIST_DIR}/once/*.cc
  ${CMAKE_CURRENT_LIST_DIR}/batch/*.cc)
list(FILTER gateway_plain EXCLUDE REGEX "_(test|fuzz|bench)\\.cc$")
set_source_files_properties(${gateway_plain} PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
target_precompile_headers(tg_gateway PRIVATE ${CMAKE_CURRENT_LIST_DIR}/net/asio.h)
target_compile_definitions(tg_gateway PRIVATE BOOST_ASIO_SEPARATE_COMPILATION
  BOOST_BEAST_SEPARATE_COMPILATION BOOST_ASIO_NO_DEPRECATED
  # Recycled frames are kept in blocks of others' sizes, up to three times their own, for as long as a stream lasts.
  BOOST_ASIO_DISABLE_AWAITABLE_FRAME_RECYCLING)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12 takes Asio's class-level operator new and delete of coroutine frames for a mismatched pair.
  target_compile_options(tg_gateway PRIVATE -Wno-mismatched-new-delete)
  if(TG_SANITIZE MATCHES thread)
    # ThreadSanitizer does not model Asio's fences; Asio orders its handlers by a mutex too, and the suites pass.
    target_compile_options(tg_gateway PRIVATE -Wno-tsan)
  endif()
endif()
file(STRINGS ${CMAKE_SOURCE_DIR}/VERSION tg_gateway_version)
set_source_files_properties(${CMAKE_CURRENT_LIST_DIR}/dialect/ollama_reply.cc PROPERTIES
  COMPILE_DEFINITIONS "TG_VERSION=\"${tg_gateway_version}\"")
