"""OpenBLAS at its best, for the peers' processes."""
import os


def choose_core(environment=os.environ):
    """Names the kernels that OpenBLAS should use, unless the caller did: on a CPU that is newer than it, it takes
    its oldest ones (0.3.21 on an Emerald Rapids: "Prescott"). Before the library is loaded."""
    with open("/proc/cpuinfo") as info:
        flags = set(next((line for line in info if line.startswith("flags")), "").split())
    core = "SkylakeX" if "avx512f" in flags else "Haswell" if "avx2" in flags else None
    if core:
        environment.setdefault("OPENBLAS_CORETYPE", core)
