# Kernels on the host, without a GPU: the sources that nvcc would compile are compiled as C++ here.
add_subdirectory(cuda_emulation/emulator)
file(GLOB device_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/sparse/cuda/*.cu)
set_source_files_properties(${device_sources} PROPERTIES LANGUAGE CXX SKIP_PRECOMPILE_HEADERS ON)
target_sources(${target} PRIVATE ${device_sources})
target_link_libraries(${target} PRIVATE bertx_cuda_emulation)
gtest_discover_tests(${target} TEST_PREFIX "${subject}/" PROPERTIES LABELS "cuda" DISCOVERY_TIMEOUT 60)
