# NVML is loaded at run time.
target_link_libraries(tg_fleet PUBLIC ${CMAKE_DL_LIBS})
if(TG_TESTS)
  # A library with its names, for the test.
  add_library(fake_nvml MODULE ${root}/testing/fake_nvml.cpp)
  set_source_files_properties(${root}/nvml_meter_test.cc PROPERTIES
    COMPILE_DEFINITIONS "FAKE_NVML=\"$<TARGET_FILE:fake_nvml>\"")
  cmake_language(DEFER DIRECTORY ${CMAKE_SOURCE_DIR} CALL add_dependencies fleet_test fake_nvml)
endif()
