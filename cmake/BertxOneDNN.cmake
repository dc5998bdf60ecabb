# oneDNN 2.x or 3.x with the GNU OpenMP runtime, as the target DNNL::dnnl: the system's, or the one under
# BERTX_ONEDNN_ROOT (a directory with include/ and lib/), which CI uses to build against both interfaces. A build for
# CUDA does without where there is none: then it has no CPU backend, and BERTX_HAVE_ONEDNN is off.
set(BERTX_ONEDNN_ROOT "" CACHE PATH "Directory of a oneDNN other than the system's")
if(BERTX_ONEDNN_ROOT)
  find_package(dnnl CONFIG QUIET PATHS ${BERTX_ONEDNN_ROOT} NO_DEFAULT_PATH)
else()
  find_package(dnnl CONFIG QUIET)
endif()
set(BERTX_HAVE_ONEDNN ON)
if(NOT TARGET DNNL::dnnl)
  if(BERTX_BACKEND STREQUAL "cuda" AND NOT BERTX_ONEDNN_ROOT)
    set(BERTX_HAVE_ONEDNN OFF)
    message(STATUS "oneDNN not found: this build has no CPU backend; install libdnnl-dev, or name its directory with "
                   "-DBERTX_ONEDNN_ROOT=<dir>, to have it")
    return()
  endif()
  message(FATAL_ERROR "oneDNN not found: install libdnnl-dev, or name its directory with -DBERTX_ONEDNN_ROOT=<dir>")
endif()
if(dnnl_VERSION VERSION_LESS 2.6 OR dnnl_VERSION VERSION_GREATER_EQUAL 4)
  message(FATAL_ERROR "oneDNN ${dnnl_VERSION} found at ${dnnl_DIR}; bertx needs 2.6 … 3.x")
endif()
message(STATUS "oneDNN ${dnnl_VERSION} (${dnnl_DIR})")
