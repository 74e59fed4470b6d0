# Included by ctest: asks a GoogleTest executable for its suites and adds a test for each.
# Labels follow from names: ...Race or ...RaceTest: race; Gpu...: gpu; executable test_tools: tool.

cmake_policy(VERSION 3.25)
function(gpunn_add_suite suite filter)
  set(labels "")
  if(suite MATCHES "Race(Test)?$")
    list(APPEND labels race)
  endif()
  if(suite MATCHES "(^|/)Gpu")
    list(APPEND labels gpu)
  endif()
  if(gpunn_test_name STREQUAL "test_tools")
    list(APPEND labels tool)
  endif()
  string(REGEX REPLACE "^test_" "" folder "${gpunn_test_name}")
  set(test "${folder}.${suite}")
  add_test("${test}" "${gpunn_test_executable}" "--gtest_filter=${filter}" --gtest_brief=1)
  # One GPU, one suite at a time: the lock keeps ctest -j from running two suites on it.
  set(lock "")
  if("gpu" IN_LIST labels)
    set(lock RESOURCE_LOCK gpu)
  endif()
  set_tests_properties("${test}" PROPERTIES
    LABELS "${labels}" TIMEOUT ${gpunn_test_timeout} ENVIRONMENT "${gpunn_test_environment}"
    WORKING_DIRECTORY "${gpunn_test_directory}" ${lock})
endfunction()

function(gpunn_list_suites)
  if(NOT EXISTS "${gpunn_test_executable}")
    add_test("${gpunn_test_name}_NOT_BUILT" "${gpunn_test_executable}")
    return()
  endif()
  execute_process(COMMAND "${gpunn_test_executable}" --gtest_list_tests
                  OUTPUT_VARIABLE listing RESULT_VARIABLE failed ERROR_VARIABLE errors)
  if(failed)
    message(FATAL_ERROR "${gpunn_test_executable} --gtest_list_tests failed: ${failed}\n${errors}")
  endif()
  # A line that starts a suite is "Name." or "Name/0.  # TypeParam = ..."; cases are indented.
  string(REGEX MATCHALL "(^|\n)[^ \n#]+\\." heads "${listing}")
  set(suites "")
  foreach(head IN LISTS heads)
    string(REGEX REPLACE "[\n.]" "" suite "${head}")
    string(REGEX REPLACE "/[0-9]+$" "" suite "${suite}")
    list(APPEND suites "${suite}")
  endforeach()
  list(REMOVE_DUPLICATES suites)
  foreach(suite IN LISTS suites)
    gpunn_add_suite("${suite}" "${suite}.*:${suite}/*.*")
  endforeach()
endfunction()

gpunn_list_suites()
