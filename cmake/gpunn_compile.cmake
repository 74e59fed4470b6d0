# Compile options of every target of the project, kept in interface targets so that a parent project's
# flags are left alone:
#   gpunn_options    standard, warnings, definitions, include tree
#   gpunn_sanitizer  -fsanitize flags (compile and link)

find_program(GPUNN_CCACHE ccache)
mark_as_advanced(GPUNN_CCACHE)
if(PROJECT_IS_TOP_LEVEL AND GPUNN_CCACHE)
  foreach(lang IN ITEMS CXX CUDA)
    if(NOT CMAKE_${lang}_COMPILER_LAUNCHER)
      set(CMAKE_${lang}_COMPILER_LAUNCHER "${GPUNN_CCACHE}")
    endif()
  endforeach()
endif()

set(GPUNN_INCLUDE_TREE "${PROJECT_BINARY_DIR}/include")
set(GPUNN_PRIVATE_INCLUDE_TREE "${PROJECT_BINARY_DIR}/private")

add_library(gpunn_options INTERFACE)
target_compile_features(gpunn_options INTERFACE cxx_std_20)
# SSSE3 without SSE4 is a processor of before 2008: it runs the scalar code, and the library is a sixth smaller.
target_compile_definitions(gpunn_options INTERFACE
  HWY_DISABLED_TARGETS=HWY_SSSE3
  GPUNN_HAS_CUDA=${GPUNN_HAS_CUDA}
  GPUNN_EMULATED=${GPUNN_EMULATED}
  GPUNN_HAS_ONEDNN_HEADERS=${GPUNN_HAS_ONEDNN_HEADERS})
target_include_directories(gpunn_options INTERFACE "${GPUNN_INCLUDE_TREE}" "${GPUNN_PRIVATE_INCLUDE_TREE}")
target_link_libraries(gpunn_options INTERFACE gpunn_private_headers)

set(gpunn_cxx_warnings -Wall -Wextra -Wpedantic -Wconversion -Wno-sign-conversion -Wshadow)
# nvcc's generated host code trips over -Wpedantic and -Wconversion; the emulated build applies them to the same text.
set(gpunn_cuda_warnings -Xcompiler=-Wall,-Wextra)
if(GPUNN_WERROR)
  list(APPEND gpunn_cxx_warnings -Werror)
  list(APPEND gpunn_cuda_warnings --Werror=all-warnings)
endif()
target_compile_options(gpunn_options INTERFACE
  "$<$<COMPILE_LANGUAGE:CXX>:${gpunn_cxx_warnings}>"
  "$<$<COMPILE_LANGUAGE:CUDA>:${gpunn_cuda_warnings}>")

# At -O3 g++ 12 sees overlapping copies inside std::string (its bug 105651) and uninitialised bytes in vectors.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(gpunn_options INTERFACE
    "$<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CONFIG:Release>>:-Wno-restrict;-Wno-maybe-uninitialized>")
endif()

# Exported functions are not meant to be replaced from outside, so the compiler may inline them within the
# library; sections per function let the linker drop what nothing reaches.
target_compile_options(gpunn_options INTERFACE
  "$<$<COMPILE_LANGUAGE:CXX>:-fno-semantic-interposition;-ffunction-sections;-fdata-sections>")

# In emulated mode <cuda_runtime.h> is the shim's; BEFORE keeps a toolkit in the default path from winning.
set(GPUNN_CUDA_INCLUDE_DIRS "")
if(GPUNN_EMULATED)
  set(GPUNN_CUDA_INCLUDE_DIRS "${PROJECT_SOURCE_DIR}/core/emulation/shim")
elseif(GPUNN_HAS_CUDA)
  set(GPUNN_CUDA_INCLUDE_DIRS "${CUDAToolkit_INCLUDE_DIRS}")
endif()

# GPUNN_TSAN and GPUNN_ASAN are set beside the flags because the emulator is compiled without
# -fsanitize=thread and must still know that its callers are instrumented.
add_library(gpunn_sanitizer INTERFACE)
if(GPUNN_SANITIZE STREQUAL "address")
  set(gpunn_sanitize_flags -fsanitize=address,undefined -fno-sanitize-recover=undefined)
  target_compile_definitions(gpunn_options INTERFACE GPUNN_ASAN=1)
elseif(GPUNN_SANITIZE STREQUAL "thread")
  set(gpunn_sanitize_flags -fsanitize=thread)
  target_compile_definitions(gpunn_options INTERFACE GPUNN_TSAN=1)
endif()
if(GPUNN_SANITIZE)
  # The checks that a sanitizer inserts make g++ warn of uninitialised values in libstdc++ (GCC's manual says so).
  target_compile_options(gpunn_sanitizer INTERFACE
    "$<$<COMPILE_LANGUAGE:CXX>:${gpunn_sanitize_flags};-fno-omit-frame-pointer;-Wno-maybe-uninitialized>")
  target_link_options(gpunn_sanitizer INTERFACE ${gpunn_sanitize_flags})
endif()

# gpunn_configure_target(TARGET [NO_SANITIZER]): what every target of the project shares.
# NO_SANITIZER leaves out -fsanitize=thread (only that one: the emulator must not be seen by TSan).
function(gpunn_configure_target target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "NO_SANITIZER" "" "")
  target_link_libraries(${target} PRIVATE gpunn_options)
  if(NOT (arg_NO_SANITIZER AND GPUNN_SANITIZE STREQUAL "thread"))
    target_link_libraries(${target} PRIVATE gpunn_sanitizer)
  endif()
  set_target_properties(${target} PROPERTIES
    CXX_STANDARD 20 CXX_STANDARD_REQUIRED ON CXX_EXTENSIONS OFF
    CUDA_STANDARD 20 CUDA_STANDARD_REQUIRED ON CUDA_EXTENSIONS OFF
    CXX_VISIBILITY_PRESET hidden CUDA_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
    CUDA_RUNTIME_LIBRARY Static
    POSITION_INDEPENDENT_CODE ON)
endfunction()
