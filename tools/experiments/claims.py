"""What is expected of the methods, by their papers and by the reference figures, and whether the runs show it."""
import statistics

import cases


def found_of(r):
    """(what is expected, the figures, whether it holds) for all whose runs are there. A difference of two models has a standard
    error of √2 times that of one, less where the same sentences are wrong."""
    found = []

    def verdict(holds, values, error=2**0.5 * r.error()):
        if holds:
            return "yes"
        near = max(values) - min(values) <= error
        return "no, but the difference is within its standard error" if near else "**no**"

    def at_least(text, goal, name):
        """A figure that others have stated."""
        value = r.metric(name)
        if value is not None:
            found.append((f"{text}: at least {goal} %", f"{name} {value:.1f}", verdict(value >= goal, (value, goal), r.error())))

    def say(text, holds, *names):
        figures = [(name, r.metric(name)) for name in names]
        if any(value is None for _, value in figures):
            return
        values = [value for _, value in figures]
        found.append((text, ", ".join(f"{name} {value:.1f}" for name, value in figures), verdict(holds(*values), values)))

    def with_same_seeds(text, name, other):
        """name above other, over the seeds that both have."""
        seeds = [seed for seed in r.runs.get(name, {}) if seed in r.runs.get(other, {})]
        if seeds:
            a, b = (statistics.mean(r.metrics(case, seeds)) for case in (name, other))
            found.append((text, f"{name} {a:.1f}, {other} {b:.1f} (seeds {', '.join(map(str, seeds))})", verdict(a > b, (a, b))))

    if r.task.name == "snippets":
        at_least("gradual magnitude to 90 %", 79.5, "magnitude-90")
        at_least("hard movement to 90 %", 78.5, "movement-90")
    say("soft movement above gradual magnitude and hard movement at 90 %", lambda s, m, h: s > m and s > h, "soft-movement-90", "magnitude-90", "movement-90")
    say("the optimal BERT surgeon above gradual magnitude and hard movement at 90 %", lambda s, m, h: s > m and s > h, "obert-90", "magnitude-90", "movement-90")
    for method, name in (("gradual magnitude", "magnitude-90"), ("hard movement", "movement-90"), ("soft movement", "soft-movement-90"),
                         ("the optimal BERT surgeon", "obert-90")):
        for kind, teacher in (("a teacher of answers", "teacher"), ("a teacher of every layer", "layers")):
            with_same_seeds(f"{method} at 90 % better with {kind}", f"{name}-{teacher}", name)
    best = max((c.name for c in cases.CASES if c.group == "zeros" and r.metric(c.name) is not None and r.zeros(c.name) > 89.4),
               key=lambda name: r.metric(name), default=None)
    if best:
        say("the best at 90 % within 3 points of dense", lambda d, b: d - b <= 3, "dense", best)
    for name, method in (("magnitude-50", "gradual magnitude"), ("magnitude-50-layers", "the same with a teacher of every layer"),
                         ("obert-50", "the optimal BERT surgeon")):
        say(f"50 % zeros, {method}: no loss of more than a standard error ({r.error():.1f})", lambda d, m: d - m <= r.error(), "dense", name)
    say("hard movement above magnitude at 90 % zeros", lambda h, m: h > m, "movement-90", "magnitude-90")
    say("everything above random zeros at 90 %", lambda r_, m: m > r_, "random-90", "magnitude-90")
    say("at once, 70 %: second order above magnitude", lambda o, s, m: o > m and s > m, "obert-70-once", "sparsegpt-70-once", "magnitude-70-once")
    say("at once, 70 %: repeating the estimate helps", lambda a, b: a > b, "obert-8-70-once", "obert-70-once")
    say("at once, 90 %: repeating the estimate helps", lambda a, b: a > b, "obert-8-90-once", "obert-90-once")
    say("2:4 at once: SparseGPT above magnitude", lambda s, m: s > m, "sparsegpt-2-4-once", "magnitude-2-4-once")
    say("dropping the top layers beats dropping the bottom ones", lambda t, b: t > b, "layers-top", "layers-bottom")
    say("heads by importance above heads at random", lambda i, r_: i > r_, "heads-50-once", "heads-50-random-once")
    say("neurons by Taylor score above neurons at random", lambda i, r_: i > r_, "neurons-50-once", "neurons-50-random-once")
    say("mask search: rescaling helps", lambda a, b: a >= b, "mask-search-50", "mask-search-50-plain")
    say("factors at once: DRONE above SVD", lambda d, s: d > s, "drone-once", "svd-once")
    say("sharing: a repair of low rank helps", lambda a, b: a > b, "share-3-repair", "share-3")
    return found


def table(results):
    rows = found_of(results)
    if not rows:
        return ""
    lines = [f"| {text} | {figures} | {holds} |" for text, figures, holds in rows]
    return "\n".join(["### What is expected, and whether it holds", "", "| expected | found | holds |", "|---|---|---|", *lines, ""])
