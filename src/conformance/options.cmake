# Where it is there, the program's memory comes from mimalloc: a request makes some hundreds of small allocations.
# Sanitizers have an allocator of their own.
if(NOT TG_SANITIZE)
  find_package(mimalloc QUIET)
  if(TARGET mimalloc)
    set_source_files_properties(${CMAKE_SOURCE_DIR}/src/conformance/allocation_watch.cc PROPERTIES
      COMPILE_DEFINITIONS TG_MIMALLOC=1)
    target_link_libraries(tg_conformance PUBLIC mimalloc)
  endif()
endif()
# For tests: the skeleton backend with one kernel spoiled in each of several ways, and the paths of all of them.
if(TG_TESTS)
  set(tg_defects f16_accumulation silent_int8 one_corrupted truncation allocation batch_dependent unstable)
  set(tg_defect_number 0)
  foreach(defect IN LISTS tg_defects)
    math(EXPR tg_defect_number "${tg_defect_number} + 1")
    tg_add_skeleton(defect_${defect} ${CMAKE_SOURCE_DIR}/src/conformance/defects/defective_linear.c)
    target_compile_definitions(defect_${defect} PRIVATE TGD_DEFECT=${tg_defect_number})
    target_link_libraries(defect_${defect} PRIVATE m)
    list(APPEND tg_conformance_modules defect_${defect})
  endforeach()
  # Deferred: the test's target comes later, and the list is read then.
  cmake_language(DEFER CALL add_dependencies conformance_test skeleton ${tg_conformance_modules})
  set_source_files_properties(${CMAKE_SOURCE_DIR}/src/conformance/suite_test.cc
    ${CMAKE_SOURCE_DIR}/src/conformance/defects_test.cc
    ${CMAKE_SOURCE_DIR}/src/conformance/extensions_test.cc PROPERTIES COMPILE_DEFINITIONS
    "TG_BACKENDS=\"${CMAKE_BINARY_DIR}\"")
endif()
