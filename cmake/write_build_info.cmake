# Run at each build: fills build_info.h with the state of the checkout.
find_program(git git)
set(GPUNN_BUILD_COMMIT "unknown")
if(git)
  execute_process(COMMAND "${git}" -C "${SOURCE_DIR}" describe --always --dirty --abbrev=12 --exclude=*
                  OUTPUT_VARIABLE described OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
  if(NOT failed)
    set(GPUNN_BUILD_COMMIT "${described}")
  endif()
endif()
configure_file("${INPUT}" "${OUTPUT}" @ONLY)
