"""The settings that tools/rivals times: who runs beside bertx, on a CPU and on a GPU, and the goals.

A goal is (slower, faster, at least): slower's time is to be so many times faster's. A limit is (name, milliseconds at
most, in words).
"""
SHAPES = {"bert-base": {"layers": 12, "hidden": 768, "heads": 12, "ffn": 3072},
          "bert-large": {"layers": 24, "hidden": 1024, "heads": 16, "ffn": 4096},
          "minilm-l6": {"layers": 6, "hidden": 384, "heads": 12, "ffn": 1536}}
SPARSE = [0.8, 0.9, 0.95]


def percent(zeros):
    return f"{100 * zeros:g} %"


def bertx(zeros=0.0, dtype="f32"):
    return f"bertx {'dense' if zeros == 0 else percent(zeros)}" + ("" if dtype == "f32" else " " + dtype)


def deepsparse(zeros):
    return f"DeepSparse {percent(zeros)}"


class Case:
    """One setting: what bertx runs, who runs beside it (name, runtime, zeros), and what is wanted."""

    def __init__(self, title, batch, tokens, reps, bertx_flags, rivals, goals, limits=()):
        self.title, self.batch, self.tokens, self.reps = title, batch, tokens, reps
        self.bertx_flags, self.rivals, self.goals, self.limits = bertx_flags, rivals, goals, limits


def sparse_case(title, batch, tokens, reps, zeros, others, goals):
    """DeepSparse and bertx at each of `zeros`, and the dense models of both."""
    flags = ["--sparsity", ",".join(str(z) for z in [0.0] + zeros)]
    rivals = [(deepsparse(z), "DeepSparse", z) for z in zeros] + [(name, name, 0.0) for name in others]
    return Case(title, batch, tokens, reps, flags, rivals, goals)


def cpu_cases(pruned):
    dense = bertx()
    latency = [(deepsparse(z), bertx(z), least) for z, least in zip(SPARSE, (1.45, 1.7, 2.2))]
    latency += [("OpenVINO", bertx(z), least) for z, least in zip(SPARSE, (3.2, 5, 7.5))]
    latency += [("OpenVINO", dense, 1.03), ("onnxruntime", dense, 1.1), ("onnxruntime int8", bertx(0.9), 1.9)]
    out = {
        "latency": sparse_case("1 x 128 tokens", 1, 128, 15, SPARSE,
                               ["OpenVINO", "onnxruntime", "onnxruntime int8", "PyTorch", "PyTorch compiled"],
                               latency),
        "short": sparse_case("1 x 32 tokens", 1, 32, 25, SPARSE, ["OpenVINO", "onnxruntime"],
                             [(deepsparse(z), bertx(z), 4) for z in SPARSE] + [("OpenVINO", dense, 1.03)]),
        "shorter": sparse_case("1 x 8 tokens", 1, 8, 40, SPARSE, ["OpenVINO", "onnxruntime"],
                               [(deepsparse(z), bertx(z), 4) for z in SPARSE] + [("OpenVINO", dense, 1.03)]),
        "long": sparse_case("1 x 384 tokens", 1, 384, 6, SPARSE, ["OpenVINO"],
                            [(deepsparse(z), bertx(z), 1.4) for z in SPARSE] + [("OpenVINO", dense, 1.03)]),
        "batch": sparse_case("8 x 128 tokens", 8, 128, 4, [0.9], ["OpenVINO"],
                             [(deepsparse(0.9), bertx(0.9), 1.15), ("OpenVINO", dense, 1.03)]),
        "bf16": Case("1 x 128 tokens, bf16", 1, 128, 15, ["--sparsity", "0", "--dtype", "bf16"],
                     [("OpenVINO bf16", "OpenVINO bf16", 0.0)], [("OpenVINO bf16", bertx(0, "bf16"), 1.05)]),
        "train": Case("an update of 8 x 128 tokens", 8, 128, 2, ["--mode", "train", "--sparsity", "0,0.9,0.95"],
                      [(name, name, 0.0) for name in ("PyTorch update", "PyTorch compiled update")],
                      [("PyTorch update", dense, 1.3), ("PyTorch compiled update", dense, 1.3),
                       (dense, bertx(0.9), 4), (dense, bertx(0.95), 5.5)]),
        "ragged": Case("32 texts, 76.8 tokens on average, 128 at most", 32, None, 2,
                       ["--sparsity", "0,0.9", "--lengths", "76.8,128"], [],
                       [(bertx(z) + " padded", bertx(z) + " ragged", 1.55) for z in (0.0, 0.9)]),
    }
    if pruned:
        out["pruned"] = Case(f"{pruned}: 1 x 128 tokens", 1, 128, 15, ["--control"], [],
                             [("bertx random places", "bertx as stored", 1 / 1.1)])
    return out


# ---- on a GPU -------------------------------------------------------------------------------------------------------

H200_BF16 = 989e12  # FLOP a second, dense, as its maker says


def operations(shape, batch, tokens):
    """Of the products of a pass, two for each multiply: matrices and attention."""
    hidden, ffn = shape["hidden"], shape["ffn"]
    return 2 * shape["layers"] * batch * tokens * (4 * hidden * hidden + 2 * hidden * ffn + 2 * tokens * hidden)


def beside_pytorch(title, batch, tokens, reps, dtype, least, mode="forward", limits=()):
    """bertx dense in a type, and PyTorch in the same, eager and compiled."""
    suffix = ("" if mode == "forward" else " update") + ("" if dtype == "f32" else " " + dtype)
    names = ["PyTorch" + suffix, "PyTorch compiled" + suffix]
    return Case(title, batch, tokens, reps, ["--mode", mode, "--sparsity", "0", "--dtype", dtype],
                [(name, name, 0.0) for name in names], [(name, bertx(0, dtype), least) for name in names], limits)


def gpu_cases(pruned, shape):
    """The limits are those of BERT-base on one H200."""
    batch_limit = 1e3 * operations(shape, 128, 128) / (0.55 * H200_BF16)
    zeros = [0.5] + SPARSE
    out = {
        "latency": beside_pytorch("1 x 128 tokens, bf16", 1, 128, 200, "bf16", 1,
                                  limits=[(bertx(0, "bf16"), 0.67, "0.67 ms")]),
        "latency-tf32": beside_pytorch("1 x 128 tokens, TF32", 1, 128, 200, "tf32", 1),
        "latency-f32": beside_pytorch("1 x 128 tokens, f32", 1, 128, 100, "f32", 1),
        "batch": beside_pytorch("128 x 128 tokens, bf16", 128, 128, 20, "bf16", 1,
                                limits=[(bertx(0, "bf16"), batch_limit, "55 % of 989 TFLOP/s")]),
        "sparse": Case("1 x 128 tokens, zeros", 1, 128, 100, ["--sparsity", ",".join(map(str, [0.0] + zeros))], [],
                       [(bertx(), bertx(z), 0.98) for z in zeros]),
        "sparse-bf16": Case("8 x 128 tokens, zeros, bf16", 8, 128, 50,
                            ["--sparsity", ",".join(map(str, [0.0] + zeros)), "--dtype", "bf16"], [],
                            [(bertx(0, "bf16"), bertx(z, "bf16"), 0.98) for z in zeros]),
        "train": beside_pytorch("an update of 32 x 128 tokens, bf16", 32, 128, 20, "bf16", 1.2, "train"),
        "train-tf32": beside_pytorch("an update of 32 x 128 tokens, TF32", 32, 128, 20, "tf32", 1.2, "train"),
        "ragged": Case("128 texts, 76.8 tokens on average, 128 at most", 128, None, 10,
                       ["--sparsity", "0", "--dtype", "bf16", "--lengths", "76.8,128"], [],
                       [(bertx(0, "bf16") + " padded", bertx(0, "bf16") + " ragged", 1.55)]),
    }
    if pruned:
        out["pruned"] = Case(f"{pruned}: 1 x 128 tokens", 1, 128, 100, ["--control"], [],
                             [("bertx dense", "bertx as stored", 0.98)])
    return out


def cases(device, pruned, shape):
    found = gpu_cases(pruned, shape) if device == "cuda" else cpu_cases(pruned)
    for case in found.values():
        case.bertx_flags = case.bertx_flags + ["--device", device]
    return found
