# Third-party libraries. Those linked into libgpunn are named by plain library name, never by an imported
# target: the exported gpunn::gpunn must not mention a target the consumer does not have.

find_package(Threads REQUIRED)

function(gpunn_require_header variable header package)
  find_path(${variable} ${header})
  mark_as_advanced(${variable})
  if(NOT ${variable})
    message(FATAL_ERROR "${header} not found: install ${package} (tools/bootstrap.sh does)")
  endif()
endfunction()

function(gpunn_require_library variable name package)
  find_library(${variable} ${name})
  mark_as_advanced(${variable})
  if(NOT ${variable})
    message(FATAL_ERROR "lib${name} not found: install ${package} (tools/bootstrap.sh does)")
  endif()
endfunction()

gpunn_require_header(GPUNN_ZLIB_INCLUDE_DIR zlib.h zlib1g-dev)
gpunn_require_library(GPUNN_ZLIB_LIBRARY z zlib1g-dev)
gpunn_require_header(GPUNN_PNG_INCLUDE_DIR png.h libpng-dev)
gpunn_require_library(GPUNN_PNG_LIBRARY png16 libpng-dev)
gpunn_require_header(GPUNN_HWY_INCLUDE_DIR hwy/highway.h libhwy-dev)
gpunn_require_library(GPUNN_HWY_LIBRARY hwy libhwy-dev)
gpunn_require_header(GPUNN_JSON_INCLUDE_DIR nlohmann/json.hpp nlohmann-json3-dev)
if(GPUNN_BUILD_TOOLS OR GPUNN_BUILD_TESTS OR GPUNN_BUILD_BENCHMARKS)
  gpunn_require_header(GPUNN_FMT_INCLUDE_DIR fmt/format.h libfmt-dev)
  gpunn_require_header(GPUNN_CLI11_INCLUDE_DIR CLI/CLI.hpp libcli11-dev)
endif()

# oneDNN is opened at run time; its header is all the build wants, and only if it is there.
find_path(GPUNN_ONEDNN_INCLUDE_DIR oneapi/dnnl/dnnl.h)
mark_as_advanced(GPUNN_ONEDNN_INCLUDE_DIR)
set(GPUNN_HAS_ONEDNN_HEADERS 0)
if(GPUNN_ONEDNN_INCLUDE_DIR)
  set(GPUNN_HAS_ONEDNN_HEADERS 1)
endif()

# Headers that stand in a default include path must not be named again: -isystem /usr/include hides libstdc++'s.
add_library(gpunn_private_headers INTERFACE)
foreach(dir IN ITEMS GPUNN_ZLIB_INCLUDE_DIR GPUNN_PNG_INCLUDE_DIR GPUNN_HWY_INCLUDE_DIR GPUNN_JSON_INCLUDE_DIR
                     GPUNN_FMT_INCLUDE_DIR GPUNN_CLI11_INCLUDE_DIR GPUNN_ONEDNN_INCLUDE_DIR)
  if(${dir} AND NOT ${dir} IN_LIST CMAKE_CXX_IMPLICIT_INCLUDE_DIRECTORIES)
    target_include_directories(gpunn_private_headers SYSTEM INTERFACE "${${dir}}")
  endif()
endforeach()

# fmt is compiled into the programs that use it; libgpunn does not.
add_library(gpunn_fmt INTERFACE)
target_compile_definitions(gpunn_fmt INTERFACE FMT_HEADER_ONLY=1)

if(GPUNN_MODE STREQUAL "cuda")
  if(NOT CMAKE_CUDA_COMPILER)
    set(CMAKE_CUDA_COMPILER "${gpunn_nvcc}")
  endif()
  set(CMAKE_CUDA_ARCHITECTURES "${GPUNN_CUDA_ARCHITECTURES}")
  enable_language(CUDA)
  # CMake 3.25 does not know that nvcc 13 takes C++20 and would silently drop the standard.
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
  find_package(CUDAToolkit REQUIRED)
endif()
