"""Another Python process finds the modules of this one, in a process group of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vidstyle.core.child_process import start_module

SHOW = "import json, os, sys\nprint(json.dumps([sys.argv[1:], os.environ['COLOR'], os.getpgid(0) == os.getpid()]))"


@pytest.mark.skipif(sys.platform == "win32", reason="needs process groups")
def test_a_module_is_found_by_the_path_of_this_process_and_not_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    for folder, code in ((there, SHOW), (here, "raise SystemExit(1)")):
        folder.mkdir()
        (folder / "shown.py").write_text(code)
    monkeypatch.syspath_prepend(str(there))
    monkeypatch.chdir(here)
    process = start_module("shown", "a", "b", variables={"COLOR": "blue"}, stdout=subprocess.PIPE)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert json.loads(output) == [["a", "b"], "blue", True]
    assert "COLOR" not in os.environ
