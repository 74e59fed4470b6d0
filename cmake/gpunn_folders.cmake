# How folders name their sources.
#   gpunn_sources(FOLDER file...)        sources of object library gpunn_<FOLDER>, made by the first call
#   gpunn_cuda_sources(TARGET file...)   .cu files of any target
#   gpunn_op(NAME)                       all sources of kernels/NAME
# A suffix says when a file is compiled:
#   *.cu            cuda (nvcc) and emulated (as C++); not in cpu mode
#   *_cuda.cpp      cuda and emulated, with the CUDA runtime's headers (the toolkit's or the shim's)
#   *_cublaslt.cpp, *_cudnn.cpp   cuda only
#   *_onednn.cpp    wherever oneDNN's header is

# FILES must be of the calling directory: source properties are visible only there.
function(gpunn_cuda_sources target)
  if(GPUNN_MODE STREQUAL "cpu")
    return()
  endif()
  target_sources(${target} PRIVATE ${ARGN})
  target_include_directories(${target} BEFORE PRIVATE ${GPUNN_CUDA_INCLUDE_DIRS})
  if(GPUNN_EMULATED)
    set_source_files_properties(${ARGN} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "-x;c++")
  endif()
endfunction()

function(gpunn_add_sources target)
  foreach(file IN LISTS ARGN)
    if(file MATCHES "\\.cu$" OR file MATCHES "_cuda\\.cpp$")
      if(file MATCHES "\\.cu$")
        gpunn_cuda_sources(${target} ${file})
      elseif(GPUNN_HAS_CUDA)
        target_sources(${target} PRIVATE ${file})
        target_include_directories(${target} BEFORE PRIVATE ${GPUNN_CUDA_INCLUDE_DIRS})
      endif()
    elseif(file MATCHES "_(cublaslt|cudnn)\\.cpp$")
      if(GPUNN_MODE STREQUAL "cuda")
        target_sources(${target} PRIVATE ${file})
        target_include_directories(${target} BEFORE PRIVATE ${GPUNN_CUDA_INCLUDE_DIRS})
      endif()
    elseif(file MATCHES "_onednn\\.cpp$")
      if(GPUNN_HAS_ONEDNN_HEADERS)
        target_sources(${target} PRIVATE ${file})
      endif()
    else()
      target_sources(${target} PRIVATE ${file})
    endif()
  endforeach()
endfunction()

function(gpunn_sources folder)
  set(target gpunn_${folder})
  if(NOT TARGET ${target})
    add_library(${target} OBJECT)
    gpunn_configure_target(${target})
    set_property(GLOBAL APPEND PROPERTY GPUNN_OBJECT_LIBRARIES ${target})
  endif()
  gpunn_add_sources(${target} ${ARGN})
endfunction()

function(gpunn_op name)
  set(folder "${CMAKE_CURRENT_SOURCE_DIR}/${name}")
  file(GLOB sources CONFIGURE_DEPENDS RELATIVE "${CMAKE_CURRENT_SOURCE_DIR}" "${folder}/*.cpp" "${folder}/*.cu")
  if(NOT sources)
    message(FATAL_ERROR "gpunn_op(${name}): no sources in kernels/${name}")
  endif()
  if(GPUNN_BUILD_TESTS AND NOT EXISTS "${PROJECT_SOURCE_DIR}/tests/kernels/${name}_test.cpp")
    message(FATAL_ERROR "gpunn_op(${name}): tests/kernels/${name}_test.cpp is missing; every op has its test")
  endif()
  gpunn_sources(kernels ${sources})
endfunction()
