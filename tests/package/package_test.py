#!/usr/bin/env python3
"""Checks the package as a user meets it. One check per run; ctest lists them (label `package`).

`install` must run first: it installs into one prefix and moves the tree to another, where the rest look.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys


class Failure(Exception):
    pass


def run(*command, env=None, cwd=None):
    """Runs a command, prints its output when it fails, returns its standard output."""
    command = [str(part) for part in command]
    done = subprocess.run(command, env=env, cwd=cwd, text=True, capture_output=True)
    if done.returncode != 0:
        raise Failure(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Package:
    def __init__(self, args):
        self.build = pathlib.Path(args.build)
        self.source = pathlib.Path(args.source)
        self.cmake = args.cmake
        self.compiler = args.compiler
        self.work = self.build / "package_test"
        self.prefix = self.work / "moved"

    def clean(self, name):
        folder = self.work / name
        shutil.rmtree(folder, ignore_errors=True)
        return folder

    def library_dir(self):
        found = list(self.prefix.rglob("gpunn.pc"))
        if len(found) != 1:
            raise Failure(f"expected one gpunn.pc under {self.prefix}, found {found}")
        return found[0].parent.parent

    def check_consumer(self, program, env=None):
        out = run(program, env=env)
        if not re.match(r"gpunn \d+\.\d+\.\d+\n", out):
            raise Failure(f"unexpected output of the consumer: {out!r}")
        print(out, end="")

    def install(self):
        first = self.clean("first")
        self.clean("moved")
        run(self.cmake, "--install", self.build, "--prefix", first)
        first.rename(self.prefix)

    def contents(self):
        """Only public headers and what they include; no path of the build machine in what CMake and pkg-config read."""
        include = self.prefix / "include"
        for header in include.rglob("*"):
            name = header.relative_to(include).as_posix()
            if header.is_dir():
                if not any(header.iterdir()):
                    raise Failure(f"empty folder installed: {name}")
            elif not name.startswith("gpunn/") or not name.endswith(".h") or name.endswith(("_impl.h", "-inl.h")) \
                    or "/emulation/" in name:
                raise Failure(f"not a public header: {name}")
        for text_file in [*self.library_dir().rglob("*.cmake"), *self.library_dir().rglob("*.pc")]:
            text = text_file.read_text()
            for path in (str(self.source), str(self.build), str(self.work)):
                if path in text:
                    raise Failure(f"{text_file.name} names {path}")
        targets = "".join(f.read_text() for f in self.library_dir().rglob("gpunnTargets*.cmake"))
        foreign = set(re.findall(r"\b(?!gpunn\b|_)(\w+)::\w+", targets))
        if foreign:
            raise Failure(f"the export set names third-party targets of: {sorted(foreign)}")

    def find_package(self):
        folder = self.clean("find_package")
        run(self.cmake, "-S", self.source / "tests/consumer", "-B", folder, "-G", "Ninja",
            f"-DCMAKE_CXX_COMPILER={self.compiler}", f"-DCMAKE_PREFIX_PATH={self.prefix}")
        run(self.cmake, "--build", folder)
        self.check_consumer(folder / "consumer")

    def pkg_config(self):
        folder = self.clean("pkg_config")
        folder.mkdir(parents=True)
        env = dict(os.environ, PKG_CONFIG_PATH=str(self.library_dir() / "pkgconfig"))
        flags = run("pkg-config", "--cflags", "--libs", "gpunn", env=env).split()
        run(self.compiler, "-std=c++20", "-Wall", "-Wextra", "-Werror", self.source / "tests/consumer/main.cpp",
            *flags, "-o", folder / "consumer")
        self.check_consumer(folder / "consumer", dict(env, LD_LIBRARY_PATH=str(self.library_dir())))

    def add_subdirectory(self):
        """The sources inside another project, as a static library; warnings of ours are not errors there."""
        folder = self.work / "add_subdirectory"  # kept: a second run compiles only what changed
        run(self.cmake, "-S", self.source / "tests/consumer", "-B", folder, "-G", "Ninja",
            f"-DCMAKE_CXX_COMPILER={self.compiler}", f"-DGPUNN_SOURCE_DIR={self.source}",
            "-DGPUNN_CUDA=OFF", "-DBUILD_SHARED_LIBS=OFF", "-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS_DEBUG=-O0",
            f"-DCMAKE_CXX_COMPILER_LAUNCHER={shutil.which('ccache') or ''}")
        run(self.cmake, "--build", folder, "--target", "consumer")
        self.check_consumer(folder / "consumer")

    def deb(self):
        """The Debian package holds library, headers and nothing of the tests."""
        folder = self.clean("deb")
        run(pathlib.Path(self.cmake).with_name("cpack"), "-G", "DEB", "-B", folder, cwd=self.build)
        package, = folder.glob("*.deb")
        names = [line.split()[5] for line in run("dpkg-deb", "--contents", package).splitlines()]
        for wanted in ("/libgpunn.so", "/include/gpunn/gpunn.h", "/gpunnConfig.cmake", "/gpunn.pc"):
            if not any(name.endswith(wanted) for name in names):
                raise Failure(f"{package.name} lacks {wanted}")
        if any("gtest" in name or "/tests/" in name for name in names):
            raise Failure(f"{package.name} holds tests: {names}")

    def headers(self):
        run(self.cmake, "--build", self.build, "--target", "gpunn_header_check")

    def symbols(self):
        """Every exported symbol belongs to namespace gpunn."""
        library = self.library_dir() / "libgpunn.so"
        lines = run("nm", "-D", "--defined-only", library).splitlines()
        names = [line.split()[-1] for line in lines]
        ours = re.compile(r"_Z(N|NK|NR|NKR|NO|NKO|TIN|TSN|TVN|TTN|GVN|TWN|THN|Th?n?\d+_NK?|Tv0_n\d+_NK?)5gpunn")
        foreign = [name for name in names if not ours.match(name)]
        if foreign:
            raise Failure("exported but not of namespace gpunn:\n  " + "\n  ".join(foreign))
        if not any(name.startswith("_ZN5gpunn7versionEv") for name in names):
            raise Failure("gpunn::version() is not exported")
        print(f"{len(names)} symbols exported, {library.resolve().stat().st_size} bytes")


def main():
    checks = [name for name in vars(Package) if not name.startswith("_") and name not in
              ("clean", "library_dir", "check_consumer")]
    parser = argparse.ArgumentParser(description=__doc__)
    for option in ("build", "source", "cmake", "compiler"):
        parser.add_argument(f"--{option}", required=True)
    parser.add_argument("check", choices=checks)
    args = parser.parse_args()
    try:
        getattr(Package(args), args.check)()
    except Failure as failure:
        print(f"{args.check}: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
