# Install rules: libraries, headers, the bertx command and the package that find_package(bertx) reads.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS bertx_sparse bertx_engine bertx_compress EXPORT bertxTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
if(TARGET bertx)
  install(TARGETS bertx RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
foreach(package sparse engine compress)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/${package}/include/bertx DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
          FILES_MATCHING PATTERN "*.h")
endforeach()

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/bertx)
install(EXPORT bertxTargets NAMESPACE bertx:: DESTINATION ${package_dir})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/bertxConfig.cmake.in ${PROJECT_BINARY_DIR}/bertxConfig.cmake
                              INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/bertxConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/bertxConfig.cmake ${PROJECT_BINARY_DIR}/bertxConfigVersion.cmake
        DESTINATION ${package_dir})
