# cmake -DOUTPUT=file.cpp -DHEADER=gpunn/x.h "-DFILES=name=path|..." -P embed_files.cmake
# Writes a source that defines, for each file, `const std::span<const std::uint8_t> name` in gpunn::detail, declared in HEADER.
set(text "#include \"${HEADER}\"\n\nnamespace gpunn::detail {\n")
string(REPLACE "|" ";" FILES "${FILES}")
foreach(entry IN LISTS FILES)
  string(REGEX MATCH "^([^=]+)=(.*)$" matched "${entry}")
  set(name "${CMAKE_MATCH_1}")
  file(READ "${CMAKE_MATCH_2}" hex HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
  string(APPEND text "static constexpr std::uint8_t ${name}_bytes[] = {${bytes}};\n"
                     "const std::span<const std::uint8_t> ${name}(${name}_bytes);\n")
endforeach()
string(APPEND text "}  // namespace gpunn::detail\n")
file(WRITE "${OUTPUT}" "${text}")
