"""From the results of the runs to results.md and its drawings: tables, orderings that are expected, what holds."""
import statistics

import archive as archive_file
import cases
import claims
import drawing


def own_rows(rows):
    """Of `bertx bench MODEL --json`: the model as it is; what it would take as dense stands beside a sparse one."""
    found = {}
    for row in rows:
        if row["tokens"] not in found or not row["dense"]:
            found[row["tokens"]] = row
    return list(found.values())


class Results:
    """What the runs of one task have found."""

    def __init__(self, archive, task, seeds):
        self.task, self.seeds = task, seeds
        known = archive_file.of_task(archive, task.name)
        self.runs = {case: {seed: runs[str(seed)] for seed in seeds if str(seed) in runs} for case, runs in known["runs"].items()}
        self.runs = {case: runs for case, runs in self.runs.items() if runs}
        self.latency = known["latency"]

    def metrics(self, case, seeds=None):
        return [100 * run["figures"]["eval_" + self.task.metric] for seed, run in self.runs.get(case, {}).items() if seeds is None or seed in seeds]

    def metric(self, case):
        found = self.metrics(case)
        return statistics.mean(found) if found else None

    def figure(self, case, name):
        """Of the first seed."""
        runs = self.runs.get(case, {})
        return next(iter(runs.values()))["figures"].get("compression_" + name) if runs else None

    def milliseconds(self, case, tokens):
        """Of the dense model's fastest pass, divided by the speed-up: so runs of other days stand on one axis."""
        dense, speed_up = self.latency.get("dense", {}).get(str(tokens)), self.speed_up(case, tokens)
        return min(t[0] for t in dense["own"]) / speed_up if dense and speed_up else None

    def speed_up(self, case, tokens):
        """Over the dense model as it was timed in turn with this one."""
        times = self.latency.get(case, {}).get(str(tokens))
        return min(t[0] for t in times["dense"]) / min(t[0] for t in times["own"]) if times else None

    def error(self):
        """One standard error of the dense model's metric, in points, by the number of held-out examples."""
        share = self.metric("dense") / 100
        held_out = next(iter(self.runs["dense"].values()))["figures"]["eval_samples"]
        return 100 * (share * (1 - share) / held_out) ** 0.5

    def zeros(self, case):
        return 100 * (self.figure(case, "sparsity") or 0.0)


def number(x, digits, unit=""):
    return "" if x is None else f"{x:.{digits}f}{unit}"


def spread(values):
    if len(values) < 2:
        return number(values[0], 1) if values else ""
    return f"{statistics.mean(values):.1f} ({min(values):.1f} – {max(values):.1f})"


def table(results, group, tokens):
    lines = []
    tokens = tokens if results.latency else ()
    for case in [c for c in cases.CASES if c.group == group and c.name in results.runs]:
        size = results.figure(case.name, "bytes_after")
        before, after = results.figure(case.name, "multiplies_before"), results.figure(case.name, "multiplies_after")
        cells = [case.title, number(results.zeros(case.name), 1), spread(results.metrics(case.name)), str(len(results.metrics(case.name))),
                 number(size / 2**20 if size else None, 1), number(100 * after / before if before else None, 0),
                 *(number(results.speed_up(case.name, t), 2) for t in tokens)]
        lines.append("| " + " | ".join(cells) + " |")
    if not lines:
        return ""
    head = ["method", "zeros %", results.task.metric + " %", "seeds", "file MiB", "multiplies %", *(f"speed-up, {t} tokens" for t in tokens)]
    return "\n".join([f"### {cases.GROUPS[group]}", "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head), *lines, ""])


def frontier(results, tokens):
    """Of what is faster (or smaller) only what nothing else beats in both: which method for which latency or size."""
    def best(cost, unit):
        known = [(cost(case.name), results.metric(case.name), case) for case in cases.CASES]
        known = sorted(((c, m, case) for c, m, case in known if c and m is not None), key=lambda found: (found[0], -found[1]))
        lines, best_metric = [], -1.0
        for c, m, case in known:
            if m > best_metric:
                best_metric = m
                lines.append(f"| {c:.1f} {unit} | {m:.1f} | {cases.GROUPS[case.group].lower()}: {case.title} |")
        return lines

    parts = [(f"one text of {t} tokens", lambda name, t=t: results.milliseconds(name, t), "ms") for t in tokens]
    parts.append(("weight file", lambda name: (results.figure(name, "bytes_after") or 0) / 2**20, "MiB"))
    text = ["### Which one?", "", "What no other run here beats in both columns; the dense model's "
            f"{results.task.metric} is {results.metric('dense'):.1f} %.", ""]
    for title, cost, unit in parts:
        lines = best(cost, unit)
        if len(lines) > 1:
            text += [f"| {title} | {results.task.metric} % | by |", "|---|---|---|", *lines, ""]
    return "\n".join(text) if len(text) > 4 else ""


def speed_table(found):
    """Of tools/experiments/speed: whether time follows multiplies, and memory what is shared."""
    figures, dense = found["figures"], found["figures"]["dense"]
    lines = [f"{found['about']}:", "", "| model | multiplies | speed-up by them | speed-up, of minima (of medians) | file MiB | peak memory MiB |",
             "|---|---|---|---|---|---|"]
    for name, f in figures.items():
        lines.append(f"| {name} | {f['multiplies'] / 1e9:.2f} G | {dense['multiplies'] / f['multiplies']:.2f} | {dense['min_ms'] / f['min_ms']:.2f} "
                     f"({dense['median_ms'] / f['median_ms']:.2f}) | {f['bytes'] / 2**20:.0f} | {f['peak_mib']:.0f} |")
    return "\n".join(lines) + "\n"


def transfer_text(found):
    """Of tools/experiments/transfer: whether the same heads are important elsewhere."""
    lines = ["![importance of heads](drawings/heads.svg)", "", f"Seeds {', '.join(map(str, found['seeds']))}; every model on its held-out texts:", "",
             "| data | metric % |", "|---|---|"]
    for name in found["data"]:
        metric = "matthews_correlation" if "eval_matthews_correlation" in found["scores"][name][0] else "accuracy"
        lines.append(f"| {name} | {spread([100 * score['eval_' + metric] for score in found['scores'][name]])}"
                     f"{' (Matthews)' if metric != 'accuracy' else ''} |")
    lines += ["", "Rank correlation of the importance of all heads (each layer divided by its length, as removal compares them):", "",
              "| between | pairs | Spearman, mean (least – most) | Kendall, mean |", "|---|---|---|---|"]
    for kind, f in found["groups"].items():
        lines.append(f"| {kind} | {f['pairs']} | {f['spearman']:.2f} ({f['least']:.2f} – {f['most']:.2f}) | {f['kendall']:.2f} |")
    lines += ["", "Spearman, means over all pairs of two models (other seeds on the diagonal):", "",
              "| | " + " | ".join(found["data"]) + " |", "|" + "---|" * (len(found["data"]) + 1)]
    for a in found["data"]:
        both = [found["between"].get(f"{a}|{b}", found["between"].get(f"{b}|{a}")) for b in found["data"]]
        lines.append(f"| {a} | " + " | ".join(number(x, 2) for x in both) + " |")
    return "\n".join(lines) + "\n"


# ---- drawings --------------------------------------------------------------------------------------------------------

def drawings(results, tokens):
    """file name -> SVG"""
    zeros = {}
    for case in cases.CASES:
        if results.metric(case.name) is None or case.group not in ("once", "zeros", "half"):
            continue
        method = case.command[case.command.index("--method") + 1]
        series = f"{method}, at once" if case.group == "once" else f"{method}, trained" + (", teacher" if "--teacher" in case.command else "")
        if {"--pattern", "--distribution", "--scope", "--recomputations", "--mask_interval"} & set(case.command):
            continue  # variants of a method that has its line already
        zeros.setdefault(series, []).append((results.zeros(case.name), results.metric(case.name)))
    y = f"{results.task.metric} %"
    level = ("dense", results.metric("dense")) if results.metric("dense") else None
    name = results.task.name
    made = {f"{name}-zeros.svg": drawing.draw(f"{y} against zeros ({results.task.title})", "zeros in the encoder's matrices, %", y, zeros, level)}
    by_size, by_time = {}, {}
    for group in ("zeros", "half", "structure", "layers", "factors", "sharing"):
        for case in [c for c in cases.CASES if c.group == group and results.metric(c.name) is not None]:
            title = {"zeros": "90 % zeros, trained", "half": "50 % zeros, trained", "structure": "heads and neurons", "layers": "layers",
                     "factors": "factors", "sharing": "sharing"}[group]
            size = results.figure(case.name, "bytes_after")
            if size:
                by_size.setdefault(title, []).append((size / 2**20, results.metric(case.name)))
            time = results.milliseconds(case.name, tokens[0])
            if time:
                by_time.setdefault(title, []).append((time, results.metric(case.name)))
    made[f"{name}-bytes.svg"] = drawing.draw(f"{y} against the weight file", "MiB", y, by_size, level, joined=False)
    made[f"{name}-latency.svg"] = drawing.draw(f"{y} against latency, one text of {tokens[0]} tokens, one thread", "ms", y, by_time, level, joined=False)
    return {file: text for file, text in made.items() if text}


def write(folder, archive, tasks, seeds, tokens=(32, 128)):
    text = [(folder / "introduction.md").read_text()]
    pictures = folder / "drawings"
    pictures.mkdir(exist_ok=True)
    for task in tasks:
        results = Results(archive, task, seeds)
        if not results.runs:
            continue
        text.append(f"## {task.title[0].upper() + task.title[1:]}\n")
        made = drawings(results, tokens)
        for file, svg in made.items():
            (pictures / file).write_text(svg)
            text.append(f"![{file}](drawings/{file})\n")
        if "dense" in results.runs:  # what all others are held against
            text += [frontier(results, tokens), claims.table(results)]
        text += [part for group in cases.GROUPS if (part := table(results, group, tokens))]
    if archive["speed"]:
        text.append("## Speed, memory and multiplies (`tools/experiments/speed`)\n")
        text += [speed_table(found) for _, found in sorted(archive["speed"].items())]
    if archive["transfer"]:
        text.append("## Are the same heads important elsewhere? (`tools/experiments/transfer`)\n")
        text.append(transfer_text(archive["transfer"]))
    (folder / "results.md").write_text("\n".join(part for part in text if part))
