# CUDA for -DBERTX_BACKEND=cuda: nvcc, the runtime and cuBLASLt, and how .cu files are compiled.
# bertx_cuda_sources(<target> <source>...): adds .cu files to a target of this directory.
if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  find_program(BERTX_NVCC nvcc HINTS $ENV{CUDA_HOME}/bin $ENV{CUDA_PATH}/bin /usr/local/cuda/bin)
  mark_as_advanced(BERTX_NVCC)
  if(BERTX_NVCC)
    set(CMAKE_CUDA_COMPILER ${BERTX_NVCC})
  endif()
endif()
if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  message(FATAL_ERROR "BERTX_BACKEND=cuda: nvcc not found; install the CUDA toolkit, or name its compiler with "
                      "-DCMAKE_CUDA_COMPILER=<path of nvcc>, or configure with -DBERTX_BACKEND=cpu")
endif()
# Machine code for A100 and H100/H200, and PTX that the driver compiles for later devices.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90a-real 90-virtual)
endif()
enable_language(CUDA)
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)
set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)
find_package(CUDAToolkit REQUIRED)
message(STATUS "CUDA ${CUDAToolkit_VERSION} (${CMAKE_CUDA_COMPILER}) for ${CMAKE_CUDA_ARCHITECTURES}")

set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)  # what is installed finds the libraries of the toolkit where it was built

# As objects, so that who links the target needs no CUDA language and gets the runtime once.
function(bertx_cuda_sources target)
  add_library(${target}_cuda OBJECT ${ARGN})
  target_compile_options(${target}_cuda PRIVATE -Werror=all-warnings -Xcompiler=-Wall,-Wextra,-Werror)
  target_include_directories(${target}_cuda PRIVATE ${CMAKE_CURRENT_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR}/include
                                                    ${PROJECT_SOURCE_DIR}/sparse)  # sparse/cuda: launchers, device code
  target_sources(${target} PRIVATE $<TARGET_OBJECTS:${target}_cuda>)
  target_link_libraries(${target} PRIVATE CUDA::cudart)
endfunction()
