# The include tree: build/include/gpunn links the source folders, so that a header reads
# "gpunn/core/tensor.h" here as it does when installed; generated headers stand beside the links.

file(MAKE_DIRECTORY "${GPUNN_INCLUDE_TREE}/gpunn" "${GPUNN_PRIVATE_INCLUDE_TREE}/gpunn")
set(GPUNN_PUBLIC_HEADERS "")
foreach(folder IN LISTS GPUNN_LIBRARY_FOLDERS)
  file(CREATE_LINK "${PROJECT_SOURCE_DIR}/${folder}" "${GPUNN_INCLUDE_TREE}/gpunn/${folder}" SYMBOLIC)
  file(GLOB_RECURSE headers CONFIGURE_DEPENDS RELATIVE "${PROJECT_SOURCE_DIR}" "${PROJECT_SOURCE_DIR}/${folder}/*.h")
  list(APPEND GPUNN_PUBLIC_HEADERS ${headers})
endforeach()
# Public is what is neither an op's inside, nor what ops share, nor a detail; the rule is stated once, here.
list(FILTER GPUNN_PUBLIC_HEADERS EXCLUDE REGEX "(_impl\\.h|-inl\\.h|/detail/.*|/emulation/.*|^kernels/common/.*)$")
list(SORT GPUNN_PUBLIC_HEADERS)

set(GPUNN_PUBLIC_INCLUDES "")
foreach(header IN LISTS GPUNN_PUBLIC_HEADERS)
  string(APPEND GPUNN_PUBLIC_INCLUDES "#include \"gpunn/${header}\"  // IWYU pragma: export\n")
endforeach()
configure_file("${PROJECT_SOURCE_DIR}/cmake/version.h.in" "${GPUNN_INCLUDE_TREE}/gpunn/version.h" @ONLY)
configure_file("${PROJECT_SOURCE_DIR}/cmake/gpunn.h.in" "${GPUNN_INCLUDE_TREE}/gpunn/gpunn.h" @ONLY)

# build_info.h is private and rewritten only when its text changes, at each build: the commit moves between
# two builds without a new configure.
string(TOUPPER "${CMAKE_BUILD_TYPE}" gpunn_build_type)
string(STRIP "${CMAKE_CXX_FLAGS} ${CMAKE_CXX_FLAGS_${gpunn_build_type}}" gpunn_flags)
add_custom_target(gpunn_build_info
  COMMAND "${CMAKE_COMMAND}"
    "-DSOURCE_DIR=${PROJECT_SOURCE_DIR}"
    "-DINPUT=${PROJECT_SOURCE_DIR}/cmake/build_info.h.in"
    "-DOUTPUT=${GPUNN_PRIVATE_INCLUDE_TREE}/gpunn/build_info.h"
    "-DGPUNN_BUILD_COMPILER=${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}"
    "-DGPUNN_BUILD_CUDA_COMPILER=${CMAKE_CUDA_COMPILER_VERSION}"
    "-DGPUNN_BUILD_MODE=${GPUNN_MODE}"
    "-DGPUNN_BUILD_TYPE=${CMAKE_BUILD_TYPE}"
    "-DGPUNN_BUILD_SANITIZER=${GPUNN_SANITIZE}"
    "-DGPUNN_BUILD_FLAGS=${gpunn_flags}"
    -P "${PROJECT_SOURCE_DIR}/cmake/write_build_info.cmake"
  BYPRODUCTS "${GPUNN_PRIVATE_INCLUDE_TREE}/gpunn/build_info.h"
  VERBATIM)
