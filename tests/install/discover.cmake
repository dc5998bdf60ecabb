# find_package(bertx) from an installed tree, as a user's project does it.
if(BERTX_INSTALL)
  add_test(NAME install/consumer
    COMMAND ${CMAKE_COMMAND} -DBUILD=${PROJECT_BINARY_DIR} -DSOURCE=${CMAKE_CURRENT_LIST_DIR}/consumer
            -DWORK=${PROJECT_BINARY_DIR}/tests/install_consumer -DCXX=${CMAKE_CXX_COMPILER} -DFLAGS=${CMAKE_CXX_FLAGS}
            -DDNNL=${dnnl_DIR} -DCOMMAND_IS_BUILT=$<TARGET_EXISTS:bertx> -DROOT=${PROJECT_SOURCE_DIR}
            -P ${CMAKE_CURRENT_LIST_DIR}/run.cmake)
  set_tests_properties(install/consumer PROPERTIES LABELS install TIMEOUT 300)
endif()
