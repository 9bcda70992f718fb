"""Describes the machine and the versions of a run."""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from servers import PEERS, node

_DISTRIBUTIONS = (
    "ocppsync",
    "ocpp",
    "websockets",
    "simple-websocket",
    "wsproto",
    "jsonschema",
    "fastjsonschema",
    "jsonschema-rs",
)
_NODE_PACKAGES = ("@voltbras/ts-ocpp", "ocpp-rpc")


def describe() -> dict[str, str]:
    """Return the date, the machine and the versions, by name."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": _memory(),
        "system": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}{_build()}",
        **{name: _version(name) for name in _DISTRIBUTIONS},
        **_node_versions(),
    }


def _build() -> str:
    enabled = getattr(sys, "_is_gil_enabled", None)
    return "" if enabled is None or enabled() else ", free-threaded"


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    model = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    return model[1] if model else platform.machine()


def _memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _node_versions() -> dict[str, str]:
    path = node()
    if path is None:
        return {"Node.js": "not installed"}
    done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=False)
    versions = {"Node.js": done.stdout.strip()}
    for name in _NODE_PACKAGES:
        file = PEERS / "node_modules" / name / "package.json"
        versions[name] = json.loads(file.read_text(encoding="utf-8"))["version"] if file.is_file() else "not installed"
    return versions
