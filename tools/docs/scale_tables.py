"""The tables of docs/scale.md, from tools/bench/results/folder.json and cluster.json. Used by tools/docs/tables.py."""

from __future__ import annotations

from typing import Any

from tools.bench.scale_plan import plan_table

Results = dict[str, Any]


def scale_tables(folder: Results, cluster: Results) -> dict[str, str]:
    """Mark in the page -> what stands there."""
    return {
        "folder": folder_table(folder),
        "kills": kills_table(folder, cluster),
        "same": same_table(cluster["same"]),
        "seams": seams_table(cluster["seams"]),
        "throughput": throughput_table(cluster["throughput"]),
        "tasks": tasks_table(cluster["tasks"]),
        "simulated": simulated_table(cluster["simulated"]),
        "plan": plan_table(cluster["tasks"]),
    }


def summary_table(folder: Results, cluster: Results) -> str:
    """The promises in short, for README.md."""
    over, broken, through = folder["overhead"], folder["broken"], cluster["throughput"]
    kills = [folder["kills"], cluster["kills"]["workers"], cluster["kills"]["ray"]]
    clips = cluster["same"]["clips"].values()
    judged = [found["ffv1"] for clip in cluster["seams"]["clips"].values() for found in clip["strengths"].values()]
    seams = [found["seam_over_same_pair_undivided"] for found in judged]
    parts = [over, broken, folder["kills"], *(cluster[part] for part in ("kills", "same", "seams", "throughput"))]
    rates = ", ".join(f"{kind} {rate['all']:.1f}" for kind, rate in through["fps"].items())
    rows = (
        (f"{over['files']} clips of a second, seconds per file besides stylization", f"{over['overhead_seconds_a_file']:.3f}"),
        (f"{broken['broken']} broken files among them", f"other outputs changed: {broken['good_outputs_unequal']}"),
        (f"{_total(kills, 'kills')} kills -9 of runs and workers: outputs lost or unequal", str(_spoiled(kills))),
        ("finished parts done twice", str(_total(kills, "finished_pieces_done_twice"))),
        ("frames that differ where videos were divided (FFV1)", f"{_differing(clips)} of {sum(c['frames'] for c in clips)}"),
        ("warping error at seams over that of the undivided video", f"{min(seams):.3f} to {max(seams):.3f}"),
        (f"frames per second, a video of {through['frames']} frames of {through['size']}", rates),
    )
    return "\n".join(["| | |", "| --- | --- |", *(f"| {what} | {figure} |" for what, figure in rows), "", _measured(*parts)])


def _differing(clips: Any) -> int:
    return sum(clip["ffv1_differing"]["frames"] for clip in clips)


def _total(parts: list[Results], key: str) -> int:
    return sum(part[key] for part in parts)


def _spoiled(parts: list[Results]) -> int:
    return _total(parts, "outputs_missing") + _total(parts, "outputs_unequal")


def _measured(*parts: Results) -> str:
    """Which commands measured these parts, and on what."""
    by_machine: dict[str, list[str]] = {}
    for part in parts:
        machine = part["machine"]
        by_machine.setdefault(f"{machine['cores']} cores of {machine['cpu']}", []).append(f"`{part['command']}`")
    measured = [f"by {' and '.join(dict.fromkeys(commands))} on {machine}" for machine, commands in by_machine.items()]
    return f"Measured {'; '.join(measured)}."


def _table(head: list[str], rows: list[list[str]], parts: list[Results], more: str = "") -> str:
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*lines, "", _measured(*parts) + (f" {more}" if more else "")])


def folder_table(folder: Results) -> str:
    """What a file and a broken file cost."""
    over, broken = folder["overhead"], folder["broken"]
    statuses = ", ".join(f"{count} {status}" for status, count in broken["statuses"].items())
    rows = [
        ["seconds a file, bare", f"{over['bare_seconds_a_file']:.3f}"],
        ["overhead a file, seconds", f"{over['overhead_seconds_a_file']:.3f}"],
        ["the same of the command, less its start", f"{over['overhead_seconds_a_file_of_the_command']:.3f}"],
        ["start of the command until its network is loaded, seconds", f"{over['start_up_seconds']:.2f}"],
        [f"{broken['broken']} broken files, {broken['kinds']} kinds: good outputs changed", str(broken["good_outputs_unequal"])],
        ["exit code; what became of the files", f"{', '.join(map(str, broken['exit_codes']))}; {statuses}"],
        ["seconds that a broken file costs", f"{broken['more_seconds_a_broken_file']:.3f}"],
    ]
    more = (
        "Bare: opened, decoded, stylized with a network that is already loaded, and encoded into an MP4 without audio, one after "
        "the other in one process. A broken file may be one that is cut off, and is stylized as far as it goes."
    )
    return _table([f"{over['files']} clips of 24 frames of 320x180 with audio", ""], rows, [over, broken], more)


def kills_table(folder: Results, cluster: Results) -> str:
    """What kills cost."""
    parts = {"`vidstyle FOLDER`": folder["kills"], "`--workers 2`": cluster["kills"]["workers"]}
    parts["`--cluster local`"] = cluster["kills"]["ray"]
    rows = []
    for name, part in parts.items():
        whom = ", ".join(f"{count} of {'the run' if who == 'driver' else 'a worker'}" for who, count in part["kills_of"].items())
        counts = (part["series"], _spoiled([part]), part["finished_pieces_done_twice"], part["finished_files_changed"])
        again = f"{part['pieces_in_flight_done_again']} of {part['pieces_begun']}"
        rows.append([name, str(part["kills"]), whom, *map(str, counts), again])
    head = ["", "kills", "whom", "until done", "outputs lost or unequal", "finished parts done twice", "finished files touched"]
    return _table([*head, "parts in flight begun again"], rows, [folder["kills"], cluster["kills"]])


def same_table(same: Results) -> str:
    """Whether a divided video is the same video."""
    rows = []
    for name, clip in same["clips"].items():
        h264, lossless = clip["h264_differing_but_frames"], clip["ffv1_differing"]
        rows.append([
            name,
            str(clip["frames"]),
            str(clip["chunks"]),
            str(lossless["frames"]),
            str(lossless["times"] + h264["times"]),
            f"{lossless['packets'] + h264['packets']} of {clip['copied_packets']}",
            "yes" if clip["ray_bytes_are_those_of_workers"] else "no",
            f"{100 * (clip['h264_bytes_over_plain'] - 1):+.1f} %",
        ])  # fmt: skip
    head = ["clip, repeated", "frames", "parts", "FFV1 frames that differ", "times that differ", "copied packets that differ"]
    head += ["H.264 of Ray is, byte for byte, that of `--workers`", "its size, to that of an undivided video"]
    return _table(head, rows, [same])


def seams_table(seams: Results) -> str:
    """What is to be seen where videos were joined."""
    first = next(iter(seams["clips"].values()))["strengths"]["light"]["by_warm_up"]
    rows, beside = [], []
    for name, clip in seams["clips"].items():
        for strength, found in clip["strengths"].items():
            ratios = [f"{found['by_warm_up'][length]['seam_over_same_pair_undivided']:.3f}" for length in first]
            rows.append([f"{name}, {strength}, {clip['seams_inside_shots']} seams", *ratios])
            if found["keyframes_undivided"]:
                h264, keyframe = found["h264"]["seam_over_nearby_divided"], found["keyframe_over_nearby_undivided"]
                beside.append(f"{name}, {strength}: {h264:.2f} at seams, {keyframe:.2f} at keyframes of the undivided video")
    more = (
        "The warping error between the two frames at a seam over that of the same two frames of the undivided video, means; "
        f"{seams['warm_up_frames']} frames are used. As H.264 a seam is a keyframe, which flickers as keyframes do; against "
        f"pairs of frames nearby, {'; '.join(beside)}."
    )
    return _table(["frames stylized before a part", *first], rows, [seams], more)


def throughput_table(through: Results) -> str:
    """Frames a second of all ways."""
    rows = []
    for kind, rates in through["fps"].items():
        over = through["over_plain"][kind]
        cells = [f"{rates['all']:.1f}", f"{over['all']:.2f}", f"{through['start_seconds'][kind]:.1f}"]
        rows.append([kind, *cells, f"{rates['without_start']:.1f}", f"{over['without_start']:.2f}"])
    head = ["", "frames per second", "to the plain run", "start, seconds", "without the start", "to the plain run"]
    more = f"A video of {through['frames']} frames of {through['size']}, the fastest of {through['rounds']}."
    return _table(head, rows, [through], more)


def tasks_table(tasks: Results) -> str:
    """What each part of the work takes."""
    rows = []
    for size, video in tasks["videos"].items():
        done, cpu, repeated = video["tasks"], video["cpu_ms_a_frame"], video["repeated"]
        cells = [f"{1000 * video['fits'][what]['seconds_a_frame']:.3f}" for what in ("survey", "join")]
        scan, stylize = (1000 * done[what]["seconds"] / done[what]["frames"] for what in ("scan", "stylize_chunk"))
        shot = done["shot_statistics"]["seconds"] / done["shot_statistics"]["count"]
        cells = [cells[0], f"{scan:.2f}", f"{shot:.2f} s", f"{stylize:.1f}", cells[1]]
        cells += [f"{cpu['decode']:.1f}, {cpu['net']:.1f}, {cpu['encode']:.1f}"]
        cells += [f"{done['stylize_chunk']['bytes_in'] / done['stylize_chunk']['count'] / 1e3:.0f} kB"]
        cells += [f"{done['stylize_chunk']['bytes_out'] / done['stylize_chunk']['frames'] / 1e3:.0f} kB"]
        rows.append([f"{size}, {video['frames']} frames, repeated to {repeated['frames']}", *cells])
    storing = tasks["storing"]
    first, last = storing["measured"][0], storing["measured"][-1]
    over = tasks["round_trip_seconds"]
    more = (
        f"One worker with all cores. Beside that the driver keeps each part: of a video of {storing['hours']:g} h, whose notes "
        f"are written anew each time, in {1000 * first['seconds']:.0f} ms at first and {1000 * last['seconds']:.0f} ms at last "
        f"({last['manifest_bytes'] / 1e6:.1f} MB). Handing a task over takes {1000 * over['processes']:.1f} ms to a process, "
        f"{1000 * over['ray']:.1f} ms to an actor of Ray."
    )
    head = ["milliseconds per frame", "survey", "scan", "a shot's statistics", "stylize", "join"]
    return _table([*head, "CPU: decode, network, encode", "task of a chunk", "a stylized frame"], rows, [tasks], more)


def simulated_table(simulated: Results) -> str:
    """How much sooner several workers end."""
    counts = list(next(iter(simulated["scenarios"].values()))["by_workers"])
    rows = []
    for name, scenario in simulated["scenarios"].items():
        found = scenario["by_workers"]
        rows.append([name, *(f"{found[n]['faster_than_plain']:.1f}" for n in counts), found[counts[-1]]["bottleneck"]])
    assumed = simulated["assumed"]
    lines = ["| times as fast as a plain run, with so many workers | " + " | ".join(counts) + f" | waits at {counts[-1]} for |"]
    lines += ["| --- |" + " ---: |" * len(counts) + " --- |", *("| " + " | ".join(row) + " |" for row in rows)]
    more = (
        f"Simulated by `{simulated['command']}`: the real planner in virtual time, with the times measured at "
        f"{simulated['size']}, shots of {assumed['seconds_a_shot']:g} s on average and a network of {assumed['gbit']:g} Gbit/s "
        "at the driver."
    )
    return "\n".join([*lines, "", more])
