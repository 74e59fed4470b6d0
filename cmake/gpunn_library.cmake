# libgpunn from the folders' object libraries, twice:
#   gpunn           what users link (gpunn::gpunn); exports only what GPUNN_API marks
#   gpunn_internal  a static archive of the same objects for our own tests and programs, which reach into the
#                   library (implementation lists, references, fakes, the emulator)

get_property(gpunn_object_libraries GLOBAL PROPERTY GPUNN_OBJECT_LIBRARIES)
if(TARGET gpunn_emulation)
  list(APPEND gpunn_object_libraries gpunn_emulation)
  list(REMOVE_DUPLICATES gpunn_object_libraries)
endif()

function(gpunn_make_library target type)
  add_library(${target} ${type})
  foreach(object_library IN LISTS gpunn_object_libraries)
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:${object_library}>)
  endforeach()
  set_target_properties(${target} PROPERTIES LINKER_LANGUAGE CXX CUDA_RUNTIME_LIBRARY Static)
  # BUILD_INTERFACE: the sanitizer is a matter of this build tree and never part of the export.
  target_link_libraries(${target} PUBLIC $<BUILD_INTERFACE:gpunn_sanitizer>)
  target_link_libraries(${target} PRIVATE hwy png16 z ${CMAKE_DL_LIBS} ${CMAKE_THREAD_LIBS_INIT})
  if(GPUNN_MODE STREQUAL "cuda")
    target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:CUDA::cudart_static>)
  endif()
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_include_directories(${target} PUBLIC
    $<BUILD_INTERFACE:${GPUNN_INCLUDE_TREE}> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
endfunction()

if(BUILD_SHARED_LIBS)
  gpunn_make_library(gpunn SHARED)
else()
  gpunn_make_library(gpunn STATIC)
endif()
add_library(gpunn::gpunn ALIAS gpunn)
set_target_properties(gpunn PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION 0)
if(BUILD_SHARED_LIBS)
  # Under a sanitizer the script would also localise the run-time library's hooks, so it is left out there.
  if(NOT GPUNN_SANITIZE)
    target_link_options(gpunn PRIVATE "LINKER:--version-script=${PROJECT_SOURCE_DIR}/cmake/gpunn.map")
    set_target_properties(gpunn PROPERTIES LINK_DEPENDS "${PROJECT_SOURCE_DIR}/cmake/gpunn.map")
  endif()
  # Calls inside the library bind inside it: no detour through the procedure linkage table on the way to an op.
  target_link_options(gpunn PRIVATE LINKER:--no-undefined LINKER:--gc-sections LINKER:-Bsymbolic-functions)
endif()

gpunn_make_library(gpunn_internal STATIC)
set_target_properties(gpunn_internal PROPERTIES EXCLUDE_FROM_ALL ON)

# gpunn_program(TARGET NAME [INTERNAL] source...): an executable build/bin/NAME over the shared library; may use
# fmt. INTERNAL links the archive instead, for a program that includes *_impl.h or detail/ headers.
function(gpunn_program target name)
  cmake_parse_arguments(PARSE_ARGV 2 arg "INTERNAL" "" "")
  add_executable(${target} ${arg_UNPARSED_ARGUMENTS})
  gpunn_configure_target(${target})
  if(arg_INTERNAL)
    target_link_libraries(${target} PRIVATE gpunn_internal gpunn_fmt)
  else()
    target_link_libraries(${target} PRIVATE gpunn gpunn_fmt)
  endif()
  set_target_properties(${target} PROPERTIES
    OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin"
    INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
endfunction()
