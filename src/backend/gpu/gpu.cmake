# Modules for GPUs: each a shared object behind the C ABI that loads its driver when it is asked for devices.
set(tg_gpu ${CMAKE_SOURCE_DIR}/src/backend/gpu)
file(GLOB tg_gpu_kernels CONFIGURE_DEPENDS ${tg_gpu}/kernels/*.cl)
set_source_files_properties(${tg_gpu}/sources.cc PROPERTIES
  COMPILE_DEFINITIONS "TG_KERNELS=\"${tg_gpu}/kernels\"" OBJECT_DEPENDS "${tg_gpu_kernels}")

# tg_add_gpu_module(NAME source): lib<NAME>.so of the backend, which exports tg_backend_get and nothing else.
function(tg_add_gpu_module name source)
  add_library(${name} MODULE ${source})
  target_link_libraries(${name} tg_backend)
  target_link_options(${name} PRIVATE -Wl,--exclude-libs,ALL)
  set_target_properties(${name} PROPERTIES CXX_VISIBILITY_PRESET hidden)
endfunction()

# OpenCL: headers to build, nothing to start.
find_path(TG_OPENCL_HEADERS CL/cl.h)
if(TG_OPENCL_HEADERS)
  tg_add_gpu_module(tg_backend_opencl ${CMAKE_SOURCE_DIR}/src/backend/opencl/module.cc)
  message(STATUS "backend opencl: ${CMAKE_BINARY_DIR}/libtg_backend_opencl.so")
  if(TG_TESTS)
    cmake_language(DEFER CALL add_dependencies conformance_test tg_backend_opencl)
  endif()
else()
  message(STATUS "backend opencl: not built, no CL/cl.h (Debian: opencl-c-headers)")
  file(GLOB tg_without_opencl CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/backend/opencl/*.cc)
  set_source_files_properties(${tg_without_opencl} PROPERTIES HEADER_FILE_ONLY ON)
endif()

# CUDA: host code always (it needs no toolkit), device code where nvcc is found.
set(TG_CUDA AUTO CACHE STRING "Compile device code for CUDA: AUTO (in release builds where nvcc is found), ON, OFF")
find_program(TG_NVCC nvcc HINTS /usr/local/cuda/bin ENV CUDA_HOME PATH_SUFFIXES bin)
# Tests run the host code against a driver of their own: they need no device code, and nvcc is slow.
if(TG_CUDA STREQUAL AUTO AND (NOT CMAKE_BUILD_TYPE STREQUAL Release OR TG_BENCH))
  set(tg_cuda_wanted OFF)
else()
  set(tg_cuda_wanted ${TG_CUDA})
endif()
if(tg_cuda_wanted STREQUAL ON AND NOT TG_NVCC)
  message(FATAL_ERROR "TG_CUDA=ON, and no nvcc")
endif()
if(tg_cuda_wanted STREQUAL OFF OR NOT TG_NVCC)
  message(STATUS "backend cuda: host code only, no device code (TG_CUDA=${TG_CUDA}, nvcc: ${TG_NVCC})")
else()
  set(tg_cuda ${CMAKE_SOURCE_DIR}/src/backend/cuda)
  set(tg_cuda_images ${CMAKE_BINARY_DIR}/cuda)
  file(MAKE_DIRECTORY ${tg_cuda_images})
  file(GLOB tg_cuda_kernels CONFIGURE_DEPENDS ${tg_cuda}/kernels/*.cu ${tg_cuda}/kernels/*.h)
  # Machine code for Hopper; PTX, which the driver compiles for whatever it finds from 8.0 (Ampere) on.
  set(tg_cuda_code -gencode arch=compute_90,code=sm_90 -gencode arch=compute_80,code=compute_80)
  # tg_cuda_image(NAME source definitions...): NAME.fatbin. Products are contracted where the kernels say so.
  function(tg_cuda_image name source)
    add_custom_command(OUTPUT ${tg_cuda_images}/${name}.fatbin
      COMMAND ${TG_NVCC} -std=c++17 -O3 -fmad=false -fatbin ${tg_cuda_code} ${ARGN} -I ${tg_gpu}/kernels
              -I ${tg_cuda}/kernels ${tg_cuda}/kernels/${source} -o ${tg_cuda_images}/${name}.fatbin
      DEPENDS ${tg_gpu_kernels} ${tg_cuda_kernels} VERBATIM)
    set(tg_cuda_fatbins ${tg_cuda_fatbins} ${tg_cuda_images}/${name}.fatbin PARENT_SCOPE)
  endfunction()
  tg_cuda_image(plain units.cu -DUNIT_PLAIN)
  tg_cuda_image(exact units.cu -DUNIT_EXACT)
  tg_cuda_image(linear units.cu -DUNIT_LINEAR)
  tg_cuda_image(linear_codes units.cu -DUNIT_LINEAR -DINT_CODES)
  tg_cuda_image(cache units.cu)
  foreach(head 64 128 256)
    tg_cuda_image(attention_${head} attention_mma.cu -DHEAD_MAX=${head})
  endforeach()
  foreach(head 576 1024)
    tg_cuda_image(attention_${head} units.cu -DHEAD_MAX=${head})
  endforeach()
  foreach(codec 9 14 18 21 23 29 30)
    tg_cuda_image(linear_${codec} linear_mma.cu -DCODEC=${codec})
  endforeach()
  set_source_files_properties(${tg_cuda}/images.cc PROPERTIES
    COMPILE_DEFINITIONS "TG_CUDA_IMAGES=\"${tg_cuda_images}\"" OBJECT_DEPENDS "${tg_cuda_fatbins}")
  message(STATUS "backend cuda: ${CMAKE_BINARY_DIR}/libtg_backend_cuda.so")
endif()
tg_add_gpu_module(tg_backend_cuda ${CMAKE_SOURCE_DIR}/src/backend/cuda/module.cc)
# The kernels in it are CUDA's C++, which our warnings are not for.
set_source_files_properties(${CMAKE_SOURCE_DIR}/src/backend/cuda/mma_test.cc
  ${CMAKE_SOURCE_DIR}/src/backend/cuda/attention_mma_test.cc PROPERTIES COMPILE_OPTIONS
  "-w;-I${tg_gpu}/kernels;-I${CMAKE_SOURCE_DIR}/src/backend/cuda/kernels")
