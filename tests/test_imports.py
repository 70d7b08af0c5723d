"""Which modules are loaded, and when."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.helpers import command, environment

HEAVY = ("torch", "cv2", "av", "onnx", "onnxruntime", "numpy")


def run_python(code: str, *args: object) -> str:
    """The output of `code` in a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", code, *map(str, args)], env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert run_python(f"import sys, vidstyle; print([m for m in {HEAVY} if m in sys.modules])") == "[]\n"


def test_help_loads_nothing_heavy() -> None:
    code = f"""
import sys
from vidstyle.cli import run_command_line
assert run_command_line(["--help"]) == 0
print([m for m in {HEAVY} if m in sys.modules])
"""
    assert run_python(code).splitlines()[-1] == "[]"


def test_converting_with_onnx_never_imports_torch(clip: Path) -> None:
    code = """
import sys
from vidstyle.cli import run_command_line
assert run_command_line([sys.argv[1], "--style", "tiny"]) == 0
print("torch" in sys.modules, "onnxruntime" in sys.modules)
"""
    assert run_python(code, clip) == "False True\n"


def test_every_public_name_can_be_imported() -> None:
    code = "import vidstyle; print([n for n in vidstyle.__all__ if getattr(vidstyle, n, None) is None])"
    assert run_python(code) == "[]\n"


def test_without_torch_an_error_names_the_extra(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "net.pth").touch()
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(name='torch')")  # as if it were not installed
    env = environment()
    env["PYTHONPATH"] = os.pathsep.join([str(tmp_path), *env.get("PYTHONPATH", "").split(os.pathsep)])
    for options in (["--style", "tiny", "--backend", "torch"], ["--style", str(tmp_path / "net.pth")]):
        done = subprocess.run(command("-q", clip, *options), env=env, capture_output=True, text=True)
        assert done.returncode == 4, done.stderr
        assert "pip install 'vidstyle[torch]'" in done.stderr
        assert len(done.stderr.splitlines()) == 1
