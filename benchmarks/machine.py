"""The machine that the numbers were measured on, in words."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import psutil
from threadpoolctl import threadpool_info

from sim.machine import matrix_product_rate
from sim.records import provenance


def describe() -> dict[str, Any]:
    """Processor, memory, load, libraries, commit, and the graphics card or `None`."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpu": gpu_name(),
        "blas": sorted(
            {f"{i['internal_api']} {i['version']}, {i['num_threads']} threads" for i in threadpool_info() if i["user_api"] == "blas"}
        ),
        "load_before": load,
        **provenance(gflops=matrix_product_rate()),
    }


def gpu_name() -> str | None:
    """The first CUDA device, or `None` without one."""
    try:
        asked = subprocess.run(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    names = asked.stdout.strip().splitlines()
    return names[0] if names else None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
