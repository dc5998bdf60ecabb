# Kernels on the host, without a GPU: the sources that nvcc would compile are compiled as C++ here.
add_subdirectory(cuda_emulation/emulator)
file(GLOB device_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/sparse/cuda/*.cu)
set_source_files_properties(${device_sources} PROPERTIES LANGUAGE CXX)
target_sources(${target} PRIVATE ${device_sources})
target_link_libraries(${target} PRIVATE bertx_cuda_emulation)
gtest_discover_tests(${target} TEST_PREFIX "${subject}/" PROPERTIES LABELS "cuda" DISCOVERY_TIMEOUT 60)
# The layers and the trainer never read a backend's memory as if it were the host's: here that would end the process.
add_test(NAME cuda_emulation/DeviceMemoryIsClosedToTheHost
         COMMAND model_tests --gtest_filter=DeviceModel.EveryRepresentation*)
set_tests_properties(cuda_emulation/DeviceMemoryIsClosedToTheHost PROPERTIES
                     LABELS "cuda" ENVIRONMENT "BERTX_TUNE=off;BERTX_CUDA_GUARDED=1")
