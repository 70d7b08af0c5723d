"""Values that Python callers may pass by mistake: a `VidstyleError`, and at once; never a hang or a file that is not whole."""

from __future__ import annotations

import random
import subprocess
import sys

from tests.support.helpers import environment
from tests.support.judge import Violation, snapshot
from tests.support.runs import DONE, FAILED, RunResult
from tools.bench.attacks.lab import Attack, Lab

SECONDS = 60
_PRELUDE = """
import os, sys, threading
from fractions import Fraction
import numpy as np
import vidstyle
from vidstyle import Frame
IMAGE = np.full((48, 64, 3), 90, np.uint8)
IMAGE[:, 20:40] = 200
try:
    {code}
except vidstyle.VidstyleError as error:
    print("refused:", type(error).__name__, error)
    sys.exit(1)
"""
REFUSED, EITHER = (FAILED,), (DONE, FAILED)
_START_AND_JOIN = "[t.start() for t in ts]; [t.join() for t in ts]"
_NUMBERS = (
    "0",
    "-1",
    "1e12",
    "1e300",
    "5e-324",
    "float('nan')",
    "float('inf')",
    "10**400",
    "'25'",
    "True",
    "1e-12",
    "[]",
    "2+3j",
)
_TIMES = ("None", "'0'", "1.5", "float('nan')", "2**62", "2**70", "-2**63", "-2**70", "[]")
_BASES = (
    *("Fraction(0)", "Fraction(-1, 25)", "0.04", "None", "0", "'1/25'", "Fraction(1, 10**12)", "Fraction(10**20 + 1, 10**20)"),
    *("Fraction(10**30)", "float('nan')"),
)
_IMAGES = (
    *("IMAGE[..., 0]", "IMAGE.astype(float)", "IMAGE[None, None]", "IMAGE[:0]", "IMAGE[:, :0]", "None", "'in.mp4'", "[[1, 2]]"),
    *("IMAGE.astype(np.int64)", "np.zeros((48, 64, 4), np.uint8)", "np.zeros((0, 0, 3), np.uint8)", "np.array(5)", "object()"),
)
_NAMES = (
    r"'a\0.mp4'",
    r"'a\ud800.mp4'",
    "'x' * 300 + '.mp4'",
    "'y/' * 3000 + 'a.mp4'",
    "''",
    "'/dev/null'",
    "'http://[::1/x.mp4'",
    "'missing.mp4'",
)
_BAD_OPTIONS = (
    *(
        "height=0",
        "height=-1",
        "height=2**70",
        "height='a'",
        "start=float('nan')",
        "start=-1",
        "end=-1",
        "quality=101",
        "crf='x'",
    ),
    *(
        "batch_size=0",
        "batch_size=2**40",
        "stroke_scale=0",
        "stroke_scale=float('inf')",
        "strength=2",
        "device='gpu9'",
        "codec='x'",
    ),
    *(
        "pix_fmt='x'",
        "preset='x'",
        "stabilize='very'",
        "mask='missing.png'",
        "backend='x'",
        "style=''",
        "style='a:b:c'",
        "fade=-1",
    ),
    *("style='mosaic:nan'", "style='mosaic:0'", "start=5, end=1", "start=1e300", r"style='a\0'", "model_color='x'", "style='0:'"),
)


def attack(lab: Lab, chance: random.Random) -> Attack:
    """Call one function with one bad value, in a process of its own."""
    code, codes = _code(chance)
    lab.copy("in.mp4")
    before = snapshot(lab.folder)
    run_result = _python(lab, _PRELUDE.format(code=code))
    outputs = ["out.mp4"] if run_result.code == DONE and (lab.folder / "out.mp4").exists() else []
    more = []
    if run_result.code == FAILED and not run_result.stdout.startswith("refused:") and "Traceback" not in run_result.stderr:
        more.append(Violation("no message", run_result.stdout[-200:]))
    if len(run_result.stdout.splitlines()) > 1:
        more.append(Violation("extra output", run_result.stdout[-300:]))
    found = lab.judge(
        code, run_result, before, codes=codes, outputs=outputs, keep=["in.mosaic"] if not outputs else [], more=more
    )
    found.violations[:] = [v for v in found.violations if v.kind != "no message" or v in more]
    return found


def _python(lab: Lab, code: str) -> RunResult:
    env = {**environment(), **lab.env}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=lab.folder,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    return lab.finish(process, SECONDS)


def _code(chance: random.Random) -> tuple[str, tuple[int, ...]]:
    """A line of Python, and how it may end: a statement that `_PRELUDE` tries."""
    number, time, base, image = (chance.choice(values) for values in (_NUMBERS, _TIMES, _BASES, _IMAGES))
    name, option = chance.choice(_NAMES), chance.choice(_BAD_OPTIONS)
    write = "vidstyle.write_video('out.mp4', {}, overwrite=True)".format
    stylizer = "vidstyle.Stylizer('mosaic')"
    return chance.choice(
        [
            (write(f"[IMAGE] * 3, frame_rate={number}"), EITHER if number == "True" else REFUSED),
            (write(f"[Frame(IMAGE, {time}, Fraction(1, 25))]"), REFUSED),
            (write(f"[Frame(IMAGE, 0, {base})]"), REFUSED),
            (write(f"[Frame(IMAGE, 0, Fraction(1, 25), {chance.choice(('None', '-1', '2**70', '0.5'))})]"), REFUSED),
            (write(f"[Frame({image}, 0, Fraction(1, 25))]"), REFUSED),
            (write(f"[{image}], frame_rate=25"), REFUSED),
            (write("[Frame(IMAGE, n, Fraction(1, 25)) for n in (0, 1, 1, 0, 5)]"), EITHER),
            (write(f"[Frame(IMAGE, n, Fraction(1, 25)) for n in (0, 1, {chance.choice(('2**40', '-5', '10**9'))})]"), EITHER),
            (write("[IMAGE, IMAGE[:20]], frame_rate=25"), REFUSED),
            (write("[], frame_rate=25"), REFUSED),
            (write(f"[IMAGE], frame_rate=25, like={name}"), REFUSED),
            (f"vidstyle.write_video({name.replace('missing', 'missing/a')}, [IMAGE], frame_rate=25)", REFUSED),
            (f"{stylizer}({image})", REFUSED),
            (f"list({stylizer}.frames([IMAGE] * 3, frame_rate={number}))", EITHER if number == "True" else REFUSED),
            (f"list({stylizer}.frames([Frame(IMAGE, {time}, {base})]))", REFUSED),
            (f"list({stylizer}.frames({name}))", REFUSED),
            (f"list(vidstyle.read_frames({name}))", REFUSED),
            (f"list(vidstyle.read_frames('in.mp4', start={number}))", EITHER),
            (f"vidstyle.stylize({name})", REFUSED),
            (f"vidstyle.stylize('in.mp4', {name.replace('missing', 'in')}, overwrite=True)", REFUSED),
            (f"vidstyle.stylize('in.mp4', 'out.mp4', {option})", REFUSED),
            (f"vidstyle.Stylizer({name})", REFUSED),
            (_fork(f"s = {stylizer}; s(IMAGE)", "s(IMAGE)"), EITHER),
            (_fork("vidstyle.stylize('in.mp4', 'out.mp4')", "vidstyle.stylize('in.mp4', 'out.mp4', overwrite=True)"), EITHER),
            (_fork("list(vidstyle.read_frames('in.mp4'))", "list(vidstyle.read_frames('in.mp4'))"), EITHER),
            (f"next({stylizer}.frames('in.mp4'))", EITHER),
            (f"s = {stylizer}; ts = [threading.Thread(target=s, args=(IMAGE,)) for _ in range(8)]; {_START_AND_JOIN}", EITHER),
        ]
    )


def _fork(before: str, inside: str) -> str:
    """Do something, then something else in a forked child, whose end counts; indented as in `_PRELUDE`."""
    return f"""{before}
    pid = os.fork()
    if not pid:
        try:
            {inside}
        except vidstyle.VidstyleError:
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print("refused: in the fork" if code else "")
    sys.exit(code)"""
