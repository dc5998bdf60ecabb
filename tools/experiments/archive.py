"""What was measured, beside the page: runs.json has the command and the figures of every run, so that one case more does not
ask for all the others again, on this machine or on another one."""
import json
import pathlib

HERE = pathlib.Path(__file__).resolve().parent
FILE = HERE / "runs.json"
KEPT = ("eval_", "compression_")  # figures by the beginnings of their names
OF_THE_MACHINE = ("runtime", "per_second")  # and by their ends those that are left out


def plain(command):
    """A command without what says nothing about its result: places, and how many runs shared the machine."""
    names = [part for part in command[1:] if part not in ("--overwrite_output_dir",)]
    return [pathlib.Path(part).name if part.startswith("/") else part for part in names]


def load():
    return json.loads(FILE.read_text()) if FILE.is_file() else {"tasks": {}, "speed": {}, "transfer": None}


def of_task(archive, name):
    """{"runs": {case: {seed: {"command", "seconds", "figures"}}}, "latency": {case: {tokens: {"own", "dense"}}}}"""
    return archive["tasks"].setdefault(name, {"runs": {}, "latency": {}})


def collect(place, tasks, cases):
    """Reads what lies in `place` into runs.json, over what was there of the same runs, and returns all of it. Runs of cases
    that are no longer listed go."""
    archive = load()
    listed = {case.name for case in cases}
    for task in tasks:
        known = of_task(archive, task)
        for file in sorted((place / task).glob("*/*/result.json")):
            found = json.loads(file.read_text())
            figures = {name: value for name, value in found["figures"].items()
                       if name.startswith(KEPT) and not name.endswith(OF_THE_MACHINE) and isinstance(value, (int, float))}
            known["runs"].setdefault(found["case"], {})[str(found["seed"])] = {
                "command": plain(found["command"]), "seconds": found["seconds"], "figures": figures}
        file = place / task / "latency.json"
        if file.is_file():
            known["latency"].update(json.loads(file.read_text()))
        for part in known.values():
            for case in [name for name in part if name not in listed]:
                del part[case]
    for file in sorted((place / "speed").glob("*.json")):
        archive["speed"][file.stem] = json.loads(file.read_text())
    file = place / "transfer/transfer.json"
    if file.is_file():
        archive["transfer"] = json.loads(file.read_text())
    FILE.write_text(dump(archive))
    return archive


def dump(archive):
    """One line a run, so that a change of one shows as one."""
    def block(value, depth):
        if depth == 0 or not isinstance(value, dict) or not value:
            return json.dumps(value, ensure_ascii=False)
        return "{\n" + ",\n".join(f"{json.dumps(key)}: {block(part, depth - 1)}" for key, part in value.items()) + "\n}"

    deep = {"tasks": 4, "speed": 2, "transfer": 1}
    return "{\n" + ",\n".join(f"{json.dumps(name)}: {block(part, deep[name])}" for name, part in archive.items()) + "\n}\n"
