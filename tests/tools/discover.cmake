# These tests run the built command as a user does.
if(NOT TARGET bertx)
  set_target_properties(${target} PROPERTIES EXCLUDE_FROM_ALL TRUE)
else()
  target_compile_definitions(${target} PRIVATE BERTX_COMMAND="$<TARGET_FILE:bertx>")
  target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:nlohmann_json::nlohmann_json>)
  add_dependencies(${target} bertx)
  gtest_discover_tests(${target} TEST_PREFIX "tools/" PROPERTIES LABELS "tools" DISCOVERY_TIMEOUT 60)
endif()
