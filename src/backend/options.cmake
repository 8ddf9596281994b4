# Kernels are compiled once per instruction set and chosen at run time; they are always optimised, because an
# unoptimised kernel is too slow even for tests. Sanitizers make -O3 four times as slow to compile as -O1.
if(TG_SANITIZE)
  set(tg_optimise -O1)
else()
  set(tg_optimise -O3)
endif()
set(tg_kernels ${CMAKE_SOURCE_DIR}/src/backend/cpu/kernels)
set_source_files_properties(${tg_kernels}/variant_base.cc PROPERTIES COMPILE_OPTIONS "${tg_optimise}")
set_source_files_properties(${tg_kernels}/variant_avx2.cc PROPERTIES COMPILE_OPTIONS "${tg_optimise};-mavx2;-mfma;-mf16c")
# g++ 12 warns of its own header's _mm256_undefined_si256.
set(tg_avx512 ${tg_optimise} $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized> $<$<CXX_COMPILER_ID:GNU>:-Wno-uninitialized>
  -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512vl -mavx512dq -mprefer-vector-width=512)
set_source_files_properties(${tg_kernels}/variant_avx512.cc PROPERTIES COMPILE_OPTIONS "${tg_avx512}")
set_source_files_properties(${tg_kernels}/variant_vnni.cc PROPERTIES COMPILE_OPTIONS "${tg_avx512};-mavx512vnni")
set_source_files_properties(${tg_kernels}/variant_amx.cc PROPERTIES COMPILE_OPTIONS
  "${tg_avx512};-mavx512vnni;-mamx-tile;-mamx-int8;-mamx-bf16")

# The built-in backend once more as a shared object, so that tests go through the door vendors use.
if(TG_TESTS)
  add_library(tg_backend_cpu MODULE ${CMAKE_SOURCE_DIR}/src/backend/cpu/module.cc)
  target_link_libraries(tg_backend_cpu tg_backend)
  set_source_files_properties(${CMAKE_SOURCE_DIR}/src/backend/device_test.cc PROPERTIES COMPILE_DEFINITIONS
    "TG_BACKEND_MODULE=\"$<TARGET_FILE:tg_backend_cpu>\"")
  cmake_language(DEFER CALL add_dependencies backend_test tg_backend_cpu)
endif()

include(${CMAKE_SOURCE_DIR}/src/backend/kit/kit.cmake)
include(${CMAKE_SOURCE_DIR}/src/backend/gpu/gpu.cmake)
