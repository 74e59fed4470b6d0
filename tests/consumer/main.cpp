// What a user's program does first: one include, one library.
#include <gpunn/gpunn.h>

#include <cstdio>
#include <cstring>

int main() {
  if (std::strcmp(gpunn::version(), GPUNN_VERSION_STRING) != 0) {
    std::fprintf(stderr, "built with headers %s, loaded library %s\n", GPUNN_VERSION_STRING,
                 gpunn::version());
    return 1;
  }
  std::printf("gpunn %s\n", gpunn::version());
  return 0;
}
