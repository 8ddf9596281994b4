# The vendor kit as it is shipped: the reference kernels as a shared library, and the skeleton backend on top of them.
# A vendor builds skeleton.c and vendor_kernels.c the same way.
enable_language(C)
set(tg_kit ${CMAKE_SOURCE_DIR}/src/backend/kit)
add_library(tg_reference_kernels SHARED ${tg_kit}/reference_kernels.cc ${tg_kit}/program_reader.cc)
target_include_directories(tg_reference_kernels PUBLIC ${CMAKE_SOURCE_DIR}/src)
target_link_libraries(tg_reference_kernels PRIVATE tg_isa)
# Only the C functions: the project's own symbols stay inside.
target_link_options(tg_reference_kernels PRIVATE -Wl,--exclude-libs,ALL)

# tg_add_skeleton(NAME kernels...): a backend of skeleton.c with these kernels.
function(tg_add_skeleton name)
  add_library(${name} MODULE ${tg_kit}/skeleton.c ${ARGN})
  set_target_properties(${name} PROPERTIES C_STANDARD 11 C_EXTENSIONS OFF C_VISIBILITY_PRESET hidden
                        CXX_VISIBILITY_PRESET hidden)
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(${name} PRIVATE tg_reference_kernels)
endfunction()
tg_add_skeleton(skeleton ${tg_kit}/vendor_kernels.c)
message(STATUS "vendor kit: ${CMAKE_BINARY_DIR}/libskeleton.so, ${CMAKE_BINARY_DIR}/libtg_reference_kernels.so")
