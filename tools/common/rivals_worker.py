"""One runtime in a process of its own, as tools/rivals starts it: reads how many passes to time, answers with times.

The first argument is a JSON object: runtime, model (an ONNX file) or shape (of a BERT), device, batch, tokens, threads.
What the process answers are lines of JSON: {"ready": version} or {"error": text}, then one list of milliseconds for
each line with a number of passes. It needs nothing of bertx, so any Python that has the runtime can run it.
"""
import json
import os
import sys
import time


def torch_model(shape, **more):
    """A classifier of two labels with random weights."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification
    torch.manual_seed(0)
    return BertForSequenceClassification(BertConfig(
        num_hidden_layers=shape["layers"], hidden_size=shape["hidden"], num_attention_heads=shape["heads"],
        intermediate_size=shape["ffn"], num_labels=2, **more))


def export(task):
    """The model as ONNX, batch and length free, once for each share of zeros: the smallest weights of each of the
    encoder's matrices become 0."""
    import torch
    names = ["input_ids", "attention_mask", "token_type_ids"]
    for zeros, path in task["files"].items():
        model = torch_model(task["shape"], attn_implementation="eager").eval()
        with torch.no_grad():
            for weight in model.bert.encoder.parameters():
                count = round(weight.numel() * float(zeros))
                if weight.dim() == 2 and count > 0:
                    weight.mul_(weight.abs() > weight.abs().flatten().kthvalue(count).values)
        ids = torch.randint(1000, 30000, (1, 128))
        torch.onnx.export(model, (ids, torch.ones_like(ids), torch.zeros_like(ids)), path + ".part", input_names=names,
                          output_names=["logits"], dynamic_axes={name: {0: "batch", 1: "tokens"} for name in names},
                          opset_version=17, dynamo=False)
        os.replace(path + ".part", path)
    return torch.__version__, None


def feed_of(task):
    import numpy
    shape = (task["batch"], task["tokens"])
    return {"input_ids": numpy.random.default_rng(0).integers(1000, 30000, shape),
            "attention_mask": numpy.ones(shape, numpy.int64), "token_type_ids": numpy.zeros(shape, numpy.int64)}


def onnxruntime_pass(task):
    import onnxruntime
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = task["threads"]
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(task["model"], settings, providers=["CPUExecutionProvider"])
    feed = feed_of(task)
    return onnxruntime.__version__, lambda: session.run(None, feed)


def onnxruntime_int8_pass(task):
    """Weights in 8 bits beforehand, activations as they come."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    path = task["model"].removesuffix(".onnx") + "-int8.onnx"
    if not os.path.exists(path):
        quantize_dynamic(task["model"], path + ".part", weight_type=QuantType.QInt8, per_channel=True)
        os.replace(path + ".part", path)
    return onnxruntime_pass(task | {"model": path})


def openvino_pass(task, precision="f32"):
    import openvino
    core = openvino.Core()
    model = core.read_model(task["model"])
    feed = feed_of(task)
    model.reshape({name: list(value.shape) for name, value in feed.items()})
    settings = {"INFERENCE_NUM_THREADS": str(task["threads"]), "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_PRECISION_HINT": precision}
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    return openvino.__version__.split("-")[0], lambda: request.infer(feed)


def deepsparse_pass(task):
    import deepsparse
    feed = list(feed_of(task).values())
    engine = deepsparse.Engine(task["model"], batch_size=task["batch"], num_cores=task["threads"],
                               input_shapes=[list(value.shape) for value in feed])
    return deepsparse.__version__, lambda: engine.run(feed)


# ---- PyTorch: "PyTorch [compiled] [update] [bf16|tf32]" -------------------------------------------------------------

def torch_setting(task):
    """The model and its inputs on the device, a function that waits for it, and the words of the runtime's name."""
    import torch
    words = set(task["runtime"].split())
    device = torch.device(task["device"])
    torch.set_num_threads(task["threads"])
    torch.set_float32_matmul_precision("high" if "tf32" in words else "highest")
    inputs = {name: torch.from_numpy(value).to(device) for name, value in feed_of(task).items()
              if name != "attention_mask"}  # all texts are equally long; without it the fastest attention is taken
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    return torch_model(task["shape"]).to(device), inputs, wait, words


def pytorch_pass(task):
    import torch
    model, inputs, wait, words = torch_setting(task)
    model.eval()
    if "bf16" in words:
        model = model.to(torch.bfloat16)
    if "compiled" in words:  # on a GPU with graphs
        model = torch.compile(model, mode="max-autotune", dynamic=False)

    def run():
        with torch.inference_mode():
            model(**inputs)
        wait()
    return torch.__version__, run


def pytorch_update(task):
    """Forward, loss, backward, clipping, AdamW in its fused form; dropout acts."""
    import torch
    model, inputs, wait, words = torch_setting(task)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5, fused=True)
    inputs["labels"] = torch.arange(task["batch"], device=task["device"]) % 2
    forward = torch.compile(model, mode="max-autotune-no-cudagraphs", dynamic=False) if "compiled" in words else model

    def run():
        optimizer.zero_grad()
        with torch.autocast(task["device"], torch.bfloat16, enabled="bf16" in words):
            loss = forward(**inputs).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        wait()
    return torch.__version__, run


def pytorch(task):
    return (pytorch_update if "update" in task["runtime"].split() else pytorch_pass)(task)


RUNTIMES = {
    "export": export,
    "onnxruntime": onnxruntime_pass,
    "onnxruntime int8": onnxruntime_int8_pass,
    "OpenVINO": openvino_pass,
    "OpenVINO bf16": lambda task: openvino_pass(task, "bf16"),
    "DeepSparse": deepsparse_pass,
}


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what runtimes print is no answer

    def answer(value):
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    task = json.loads(sys.argv[1])
    try:
        version, run = RUNTIMES.get(task["runtime"], pytorch)(task)
        if run:
            for _ in range(2):
                run()
    except Exception as error:  # whatever a runtime may raise: the others go on without it
        answer({"error": f"{type(error).__name__}: {error}".splitlines()[0]})
        return
    answer({"ready": version})
    for line in sys.stdin:
        run()  # after a pause
        times = []
        for _ in range(int(line)):
            begin = time.perf_counter()
            run()
            times.append(1e3 * (time.perf_counter() - begin))
        answer(times)


if __name__ == "__main__":
    main()
