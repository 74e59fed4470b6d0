# gpunn_test(TARGET source...): a GoogleTest executable over the library's objects, one ctest entry per suite.
# The suites are listed when ctest starts, so that a configure needs no build; listing costs milliseconds.

# Executables that hold a suite named ...Race: what a build under TSan needs.
add_custom_target(gpunn_race_tests)

set(GPUNN_TEST_TIMEOUT 300 CACHE STRING "Seconds a test suite may take before ctest ends it")
mark_as_advanced(GPUNN_TEST_TIMEOUT)

function(gpunn_test target)
  add_executable(${target})
  gpunn_configure_target(${target})
  gpunn_add_sources(${target} ${ARGN})
  target_link_libraries(${target} PRIVATE gpunn_test_support GTest::gmock_main)
  gpunn_register_suites(${target})
  # Tests spend their time in the library, and half of a whole build is their compilation: optimised it takes
  # twice as long. Kernels among them keep the level, since fibers have small stacks.
  set(hosts ${ARGN})
  list(FILTER hosts INCLUDE REGEX "\\.cpp$")
  if(GPUNN_SANITIZE)
    set_property(SOURCE ${hosts} APPEND PROPERTY COMPILE_OPTIONS -O0)
  else()
    set_property(SOURCE ${hosts} APPEND PROPERTY COMPILE_OPTIONS -O1)
  endif()
  foreach(source IN LISTS ARGN)
    file(STRINGS "${CMAKE_CURRENT_SOURCE_DIR}/${source}" race REGEX "Race(Test)?," LIMIT_COUNT 1)
    if(race)
      add_dependencies(gpunn_race_tests ${target})
      break()
    endif()
  endforeach()
endfunction()

# For executables made elsewhere: lists the suites of TARGET in ctest.
function(gpunn_register_suites target)
  set(include_file "${CMAKE_CURRENT_BINARY_DIR}/${target}_suites.cmake")
  # Following __tls_get_addr, the runtime of GCC 12 takes the bytes before a library's thread-local block for an old
  # glibc's header, and the leak check at exit then reads wild addresses (in up to 8 of 10 runs with oneDNN loaded).
  set(environment "ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1:intercept_tls_get_addr=0"
                  "UBSAN_OPTIONS=print_stacktrace=1" "TSAN_OPTIONS=atexit_sleep_ms=0"
                  "GPUNN_SOURCE_DIR=${PROJECT_SOURCE_DIR}")
  if(GPUNN_TEST_DATA_DIR)
    list(APPEND environment "GPUNN_TEST_DATA_DIR=${GPUNN_TEST_DATA_DIR}")
  endif()
  file(GENERATE OUTPUT "${include_file}" CONTENT
"set(gpunn_test_name [==[${target}]==])
set(gpunn_test_executable [==[$<TARGET_FILE:${target}>]==])
set(gpunn_test_timeout ${GPUNN_TEST_TIMEOUT})
set(gpunn_test_environment [==[${environment}]==])
set(gpunn_test_directory [==[${PROJECT_BINARY_DIR}]==])
include([==[${PROJECT_SOURCE_DIR}/cmake/gpunn_list_suites.cmake]==])
")
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES "${include_file}")
endfunction()
