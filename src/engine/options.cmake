# The module that a test puts beside the CPU backend.
if(TG_TESTS)
  set_source_files_properties(${CMAKE_SOURCE_DIR}/src/engine/suppliers_test.cc PROPERTIES COMPILE_DEFINITIONS
    "TG_BACKENDS=\"${CMAKE_BINARY_DIR}\"")
  if(TARGET tg_backend_opencl)
    cmake_language(DEFER CALL add_dependencies engine_test tg_backend_opencl)
  endif()
endif()
