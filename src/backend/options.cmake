# Kernels are compiled once per instruction set and chosen at run time; they are always optimised, because an
# unoptimised kernel is too slow even for tests. Sanitized kernels take minutes each to compile: then two variants, the
# plainest and the one of today's servers, are watched for addresses and threads, the others not at all.
if(TG_SANITIZE)
  set(tg_optimise -O1)
  set(tg_watched -fno-sanitize=undefined)
  set(tg_unwatched -fno-sanitize=all)
  if(TG_FUZZ)
    set(tg_uncounted
      -fno-sanitize-coverage=trace-pc-guard,inline-8bit-counters,trace-cmp,indirect-calls,pc-table,stack-depth)
    list(APPEND tg_watched ${tg_uncounted})
    list(APPEND tg_unwatched ${tg_uncounted})
  endif()
else()
  set(tg_optimise -O3)
endif()
set(tg_kernels ${CMAKE_SOURCE_DIR}/src/backend/cpu/kernels)
set_source_files_properties(${tg_kernels}/variant_base.cc PROPERTIES COMPILE_OPTIONS "${tg_optimise};${tg_watched}")
set_source_files_properties(${tg_kernels}/variant_avx2.cc PROPERTIES COMPILE_OPTIONS
  "${tg_optimise};${tg_unwatched};-mavx2;-mfma;-mf16c")
# g++ 12 warns of its own header's _mm256_undefined_si256.
set(tg_avx512 ${tg_optimise} $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized> $<$<CXX_COMPILER_ID:GNU>:-Wno-uninitialized>
  -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512vl -mavx512dq -mprefer-vector-width=512)
set_source_files_properties(${tg_kernels}/variant_avx512.cc PROPERTIES COMPILE_OPTIONS "${tg_avx512};${tg_unwatched}")
set_source_files_properties(${tg_kernels}/variant_vnni.cc PROPERTIES COMPILE_OPTIONS
  "${tg_avx512};${tg_watched};-mavx512vnni")
set_source_files_properties(${tg_kernels}/variant_bf16.cc PROPERTIES COMPILE_OPTIONS
  "${tg_avx512};${tg_watched};-mavx512bf16")
set_source_files_properties(${tg_kernels}/variant_amx.cc PROPERTIES COMPILE_OPTIONS
  "${tg_avx512};${tg_unwatched};-mavx512vnni;-mamx-tile;-mamx-int8;-mamx-bf16")

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
