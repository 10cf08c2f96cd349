"""A small repository whose locks pin small wheels: the real set-up, real pip, no network, seconds."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BACKEND = """
import zipfile
def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "paceline-1.0-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        for path, text in FILES.items():
            wheel.writestr(path, text)
    return name
"""


def wheel_files(name: str, version: str) -> dict[str, str]:
    """The least that pip accepts: one module and its metadata."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}_module.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(text)}\n"
    return files | {f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}


@dataclass(frozen=True)
class Repository:
    """`wheels` is all that pip can find; `tools` is the PATH of the set-up."""

    root: Path
    wheels: Path
    tools: Path

    def pin(self, lock: str, name: str, version: str = "1.0", sha256: str | None = None, wheel: bool = True) -> None:
        """Writes the lock; without `wheel` pip cannot find what it pins."""
        digest = sha256 or "0" * 64
        if wheel:
            path = self.wheels / f"{name}-{version}-py3-none-any.whl"
            with zipfile.ZipFile(path, "w") as archive:
                for member, text in wheel_files(name, version).items():
                    archive.writestr(member, text)
            digest = sha256 or hashlib.sha256(path.read_bytes()).hexdigest()
        (self.root / "locks" / f"{lock}.txt").write_text(f"{name}=={version} \\\n    --hash=sha256:{digest}\n")

    def make_venv(self) -> None:
        """A .venv that the set-up accepts, with this Python's pip linked in: making its own takes five seconds."""
        venv = self.root / ".venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
        (packages,) = venv.glob("lib/python*/site-packages")
        installed = Path(sysconfig.get_path("purelib"))
        for path in (installed / "pip", *installed.glob("pip-*.dist-info")):
            (packages / path.name).symlink_to(path)
        (venv / "bin/pip").write_text(f"#!{venv}/bin/python\n")

    @property
    def environ(self) -> dict[str, str]:
        """Nothing of the person's own pip settings, and no network."""
        return {
            "PATH": f"{self.tools}:/usr/bin:/bin",
            "HOME": str(self.tools),
            "PYTHON": sys.executable,
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
        }

    def ready(self, *parts: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """bench/setup/ready.sh, from another directory."""
        return subprocess.run(
            [self.root / "bench/setup/ready.sh", *parts],
            cwd=self.tools,
            env=self.environ | environ,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """In a folder with a space. torch's CPU build and tensorflow are not to be had."""
    root = tmp_path / "a clone"
    made = Repository(root, tmp_path / "wheels", tmp_path / "tools")
    for folder in (root / "locks", made.wheels, made.tools):
        folder.mkdir(parents=True)
    shutil.copytree(ROOT / "bench/setup", root / "bench/setup", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "bench/__init__.py").touch()
    shutil.copy(ROOT / "horovodrun.sh", root)
    (root / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "paceline"\nversion = "1.0"\n'
    )
    (root / "backend.py").write_text(f"FILES = {wheel_files('paceline', '1.0')!r}\n{BACKEND}")
    for lock, name in (("core", "core_libraries"), ("dev", "dev_tools"), ("torch", "torch"), ("horovod-build", "tool")):
        made.pin(lock, name)
    made.pin("torch-cpu", "torch", "1.0+cpu", wheel=False)
    made.pin("tensorflow", "tensorflow", wheel=False)
    return made
