"""The stamp `.venv/.paceline`, JSON on one line: what the last set-up brought, and what it depended on.

Standard library only: it is read before anything else is installed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
STAMP = VENV / ".paceline"
DRIVER = Path("/proc/driver/nvidia/version")
UNFINISHED = "unfinished"


@dataclass(frozen=True)
class Stamp:
    """`wanted` and `installed` hold "core", "dev" and frameworks; `missing` says why a framework is not here."""

    key: str
    wanted: list[str]
    installed: list[str]
    missing: dict[str, str] = field(default_factory=dict)


def key() -> str:
    """What the set-up depends on. bench/setup/ready.sh computes the same on every start, without Python."""
    files = [ROOT / "pyproject.toml", ROOT / "bench/setup/horovod_wheel.py", ROOT / "bench/setup/nccl.py"]
    files += [*sorted((ROOT / "locks").glob("*.txt")), VENV / "pyvenv.cfg"]
    head = f"{ROOT}\n{'gpu' if DRIVER.exists() else 'cpu'}\n".encode()
    return hashlib.sha256(head + b"".join(path.read_bytes() for path in files if path.exists())).hexdigest()


def read_stamp() -> Stamp | None:
    """None where no set-up has begun; the key is UNFINISHED where one was interrupted."""
    try:
        return Stamp(**json.loads(STAMP.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def write_stamp(stamp: Stamp) -> None:
    """Atomically, so that a reader never sees half of it."""
    staged = STAMP.with_suffix(".new")
    staged.write_text(json.dumps(asdict(stamp)) + "\n")
    staged.replace(STAMP)
