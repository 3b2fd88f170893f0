"""Puts the shared library into the wheel, and takes the crate's version over.

The library is the file that the environment variable GGUFFUSE_LIBRARY names; without it, Cargo builds it from the crate
that this folder lies in. The wheel's tag is any Python 3 and this platform: the package is Python alone, which calls the
library through ctypes, so that one wheel serves every version of Python. `auditwheel repair` then finds out from which
glibc on the library works, and says so in the tag.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

FILE_NAMES = {"win32": "gguffuse.dll", "darwin": "libgguffuse.dylib"}
FILE_NAME = FILE_NAMES.get(sys.platform, "libgguffuse.so")


class CrateVersion(MetadataHookInterface):
    def update(self, metadata: dict[str, Any]) -> None:
        crate = Path(self.root, "../../Cargo.toml").read_text(encoding="utf-8")
        metadata["version"] = tomllib.loads(crate)["package"]["version"]


class WithLibrary(BuildHookInterface[Any]):
    folder: tempfile.TemporaryDirectory[str]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"
        if version == "editable":
            return  # GGUFFUSE_LIBRARY then names the library when the package is imported
        given = os.environ.get("GGUFFUSE_LIBRARY")
        library = Path(given) if given else self.build_library()
        self.folder = tempfile.TemporaryDirectory()
        copy = Path(self.folder.name, FILE_NAME)
        shutil.copyfile(library, copy)
        if strip := shutil.which("strip"):
            # Line tables are four fifths of the file.
            subprocess.run([strip, "--strip-unneeded" if sys.platform == "linux" else "-x", copy], check=True)
        build_data["force_include"][str(copy)] = f"gguffuse/{FILE_NAME}"
        for name in ("LICENSE-APACHE", "LICENSE-MIT"):
            build_data["extra_metadata"][str(Path(self.root, "../..", name))] = f"licenses/{name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()

    def build_library(self) -> Path:
        command = ["cargo", "build", "--release", "--lib", "--package=gguffuse", "--locked"]
        command.append("--message-format=json-render-diagnostics")
        run = subprocess.run(command, cwd=Path(self.root, "../.."), check=True, stdout=subprocess.PIPE, text=True)
        made = [file for line in run.stdout.splitlines() for file in json.loads(line).get("filenames", [])]
        return next(Path(file) for file in made if Path(file).name == FILE_NAME)
