# Install, export and package rules. The export set holds gpunn::gpunn alone; the installed tree may be moved.

if(NOT GPUNN_INSTALL)
  return()
endif()
include(CMakePackageConfigHelpers)

set(gpunn_cmake_dir "${CMAKE_INSTALL_LIBDIR}/cmake/gpunn")
install(TARGETS gpunn EXPORT gpunn_targets
  LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
  ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(EXPORT gpunn_targets NAMESPACE gpunn:: FILE gpunnTargets.cmake DESTINATION "${gpunn_cmake_dir}")

# A detail/ or kernels/common/ header that a public header includes is installed with it.
set(gpunn_installed_headers ${GPUNN_PUBLIC_HEADERS})
set(gpunn_unread ${GPUNN_PUBLIC_HEADERS})
while(gpunn_unread)
  list(POP_FRONT gpunn_unread header)
  file(STRINGS "${PROJECT_SOURCE_DIR}/${header}" lines REGEX "^#include \"gpunn/([a-z_/0-9]*detail|kernels/common)/[a-z_0-9]+\\.h\"")
  foreach(line IN LISTS lines)
    string(REGEX REPLACE "^#include \"gpunn/([^\"]+)\".*" "\\1" detail "${line}")
    if(NOT detail IN_LIST gpunn_installed_headers)
      list(APPEND gpunn_installed_headers ${detail})
      list(APPEND gpunn_unread ${detail})
    endif()
  endforeach()
endwhile()
foreach(header IN LISTS gpunn_installed_headers)
  cmake_path(GET header PARENT_PATH folder)
  install(FILES "${PROJECT_SOURCE_DIR}/${header}" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/gpunn/${folder}")
endforeach()
install(FILES "${GPUNN_INCLUDE_TREE}/gpunn/version.h" "${GPUNN_INCLUDE_TREE}/gpunn/gpunn.h"
  DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/gpunn")

configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/gpunnConfig.cmake.in"
  "${PROJECT_BINARY_DIR}/gpunnConfig.cmake" INSTALL_DESTINATION "${gpunn_cmake_dir}")
# Before 1.0 a minor version may break its users.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/gpunnConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/gpunnConfig.cmake" "${PROJECT_BINARY_DIR}/gpunnConfigVersion.cmake"
  DESTINATION "${gpunn_cmake_dir}")

# pkg-config reads ${pcfiledir}, so that the file survives a move of the prefix.
cmake_path(SET gpunn_pc_dir "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
cmake_path(RELATIVE_PATH CMAKE_INSTALL_PREFIX BASE_DIRECTORY "${CMAKE_INSTALL_PREFIX}/${gpunn_pc_dir}"
           OUTPUT_VARIABLE gpunn_pc_prefix)
set(gpunn_pc_private_libs "-lhwy -lpng16 -lz -pthread -ldl")
set(gpunn_pc_libs "-lgpunn")
if(NOT BUILD_SHARED_LIBS)
  set(gpunn_pc_libs "-lgpunn ${gpunn_pc_private_libs} -lstdc++ -lm")
  if(GPUNN_MODE STREQUAL "cuda")
    string(APPEND gpunn_pc_libs " -lcudart_static -lrt")
  endif()
endif()
configure_file("${PROJECT_SOURCE_DIR}/cmake/gpunn.pc.in" "${PROJECT_BINARY_DIR}/gpunn.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/gpunn.pc" DESTINATION "${gpunn_pc_dir}")
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DOCDIR}")

set(CPACK_PACKAGE_NAME libgpunn)
set(CPACK_PACKAGE_VENDOR "the libgpunn authors")
set(CPACK_PACKAGE_CONTACT "the libgpunn authors")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
set(CPACK_RESOURCE_FILE_LICENSE "${PROJECT_SOURCE_DIR}/LICENSE")
set(CPACK_GENERATOR DEB)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION libdevel)
find_program(GPUNN_DPKG_SHLIBDEPS dpkg-shlibdeps)
mark_as_advanced(GPUNN_DPKG_SHLIBDEPS)
if(GPUNN_DPKG_SHLIBDEPS)
  set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
endif()
set(CPACK_PACKAGING_INSTALL_PREFIX "/usr")
include(CPack)
