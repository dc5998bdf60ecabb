"""What is run: every method on one model and one task, as the flags of a command each.

A case begins with a model ("pretrained", or what another case made with the same seed), and is compared inside its
group. Groups are the tables of results.md, in this order."""
import dataclasses


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    group: str
    title: str
    command: tuple  # of bertx, without model, data, seed and place
    start: str = "dense"
    seeds: int = 1  # how many of the seeds asked for


GROUPS = {
    "base": "Fine-tuned",
    "once": "Zeros at once, without training",
    "zeros": "90 % zeros, trained",
    "half": "50 % zeros, trained",
    "structure": "Heads and neurons cut out",
    "layers": "Half of the layers, dropped before fine-tuning",
    "factors": "Factors",
    "sharing": "Shared weights",
    "recipes": "Several methods in turn",
}


def _once(method, sparsity, *flags, title=None, name=None):
    label = title or f"{method}, {100 * sparsity:g} %"
    return Case(name or f"{method}-{100 * sparsity:g}-once", "once", label,
                ("prune", "--method", method, "--sparsity", str(sparsity), "--one_shot", "true", *flags), seeds=1)


def _trained(name, group, title, *flags, start="dense", seeds=1, command="prune"):
    return Case(name, group, title, (command, *flags), start, seeds)


EPOCHS3 = ("--num_train_epochs", "3")
EPOCHS4 = ("--num_train_epochs", "4")
EPOCHS2 = ("--num_train_epochs", "2")
EPOCH = ("--num_train_epochs", "1")
TEACHER = ("--teacher", "{dense}", "--hard_weight", "0.1")
LAYERS = (*TEACHER, "--distillation", "tinybert")  # a student of the same shape learns from every layer

CASES = [
    Case("dense", "base", "fine-tuned, 2 epochs", ("train", *EPOCHS2), "pretrained", 3),

    # ---- zeros at once
    *[_once("magnitude", s) for s in (0.3, 0.5, 0.7, 0.9)],
    _once("random", 0.3), _once("random", 0.5),
    _once("magnitude", 0.7, "--scope", "global", title="magnitude, global, 70 %", name="magnitude-global-70-once"),
    _once("magnitude", 0.7, "--distribution", "erdos_renyi", title="magnitude, Erdős–Rényi, 70 %",
          name="magnitude-erdos-renyi-70-once"),
    _once("magnitude", 0.7, "--distribution", "sensitivity", "--calibration_samples", "256", title="magnitude, by sensitivity, 70 %",
          name="magnitude-sensitivity-70-once"),
    *[_once("wanda", s) for s in (0.5, 0.7)],
    *[_once("sparsegpt", s) for s in (0.5, 0.7, 0.9)],
    *[_once("obert", s, "--fisher_gradients", "1024", "--calibration_samples", "8192") for s in (0.5, 0.7, 0.9)],
    *[_once("obert", s, "--fisher_gradients", "256", "--calibration_samples", "2048", "--recomputations", "8",
            title=f"obert, 8 estimates, {100 * s:g} %", name=f"obert-8-{100 * s:g}-once") for s in (0.7, 0.9)],
    *[_once(m, 0.5, "--pattern", "2:4", title=f"{m}, 2:4", name=f"{m}-2-4-once") for m in ("magnitude", "sparsegpt")],

    # ---- 90 % zeros, trained
    _trained("magnitude-90", "zeros", "magnitude, gradual, 3 epochs", "--method", "magnitude", "--sparsity", "0.9", *EPOCHS3, seeds=3),
    _trained("movement-90", "zeros", "movement, hard, scores from magnitudes, 4 epochs from pretrained", "--method", "movement", "--sparsity", "0.9", "--score_start", "5",
             *EPOCHS4, start="pretrained", seeds=3),
    _trained("movement-from-zero-90", "zeros", "movement, hard, scores from 0 as in the paper, 4 epochs from pretrained",
             "--method", "movement", "--sparsity", "0.9", "--mask_interval", "1", *EPOCHS4, start="pretrained"),
    _trained("soft-movement-90", "zeros", "movement, soft, scores from magnitudes, 4 epochs from pretrained", "--method", "soft_movement",
             "--sparsity", "0.9", "--score_start", "1", *EPOCHS4, start="pretrained", seeds=3),
    _trained("obert-90", "zeros", "obert, 3 epochs", "--method", "obert", "--sparsity", "0.9", "--initial_sparsity", "0.5",
             "--fisher_gradients", "512", "--calibration_samples", "4096", *EPOCHS3),
    _trained("magnitude-90-teacher", "zeros", "magnitude, gradual, 3 epochs, with a teacher", "--method", "magnitude", "--sparsity", "0.9",
             *EPOCHS3, *TEACHER),
    _trained("obert-90-teacher", "zeros", "obert, 3 epochs, with a teacher", "--method", "obert", "--sparsity", "0.9",
             "--initial_sparsity", "0.5", "--fisher_gradients", "512", "--calibration_samples", "4096", *EPOCHS3, *TEACHER),
    _trained("magnitude-90-layers", "zeros", "magnitude, gradual, 3 epochs, with a teacher of every layer", "--method", "magnitude",
             "--sparsity", "0.9", *EPOCHS3, *LAYERS),
    _trained("obert-90-layers", "zeros", "obert, 3 epochs, with a teacher of every layer", "--method", "obert", "--sparsity", "0.9",
             "--initial_sparsity", "0.5", "--fisher_gradients", "512", "--calibration_samples", "4096", *EPOCHS3, *LAYERS),
    _trained("movement-90-layers", "zeros", "movement, hard, with a teacher of every layer, 4 epochs from pretrained", "--method", "movement",
             "--sparsity", "0.9", "--score_start", "5", *EPOCHS4, *LAYERS, start="pretrained"),
    _trained("soft-movement-90-layers", "zeros", "movement, soft, with a teacher of every layer, 4 epochs from pretrained",
             "--method", "soft_movement", "--sparsity", "0.9", "--score_start", "1", *EPOCHS4, *LAYERS, start="pretrained"),
    _trained("l0-90", "zeros", "L0, hard concrete, 4 epochs from pretrained", "--method", "l0", "--sparsity", "0.9", *EPOCHS4,
             start="pretrained"),
    _trained("random-90", "zeros", "random, gradual, 3 epochs", "--method", "random", "--sparsity", "0.9", *EPOCHS3),
    _trained("iterative-magnitude-90", "zeros", "magnitude, 4 rounds with rewinding, 3 epochs", "--method", "iterative_magnitude",
             "--sparsity", "0.9", *EPOCHS3),
    _trained("wanda-90", "zeros", "wanda at once, then 2 epochs", "--method", "wanda", "--sparsity", "0.9", *EPOCHS2),
    _trained("sparsegpt-90", "zeros", "sparsegpt at once, then 2 epochs", "--method", "sparsegpt", "--sparsity", "0.9", *EPOCHS2),

    # ---- 50 % zeros, trained
    _trained("magnitude-50", "half", "magnitude, gradual, 2 epochs", "--method", "magnitude", "--sparsity", "0.5", *EPOCHS2),
    _trained("magnitude-50-layers", "half", "magnitude, gradual, 2 epochs, with a teacher of every layer", "--method", "magnitude",
             "--sparsity", "0.5", *EPOCHS2, *LAYERS),
    _trained("obert-50", "half", "obert, 2 epochs", "--method", "obert", "--sparsity", "0.5", "--initial_sparsity", "0.3",
             "--fisher_gradients", "256", "--calibration_samples", "2048", *EPOCHS2),
    _trained("magnitude-2-4", "half", "magnitude, 2:4, gradual, 2 epochs", "--method", "magnitude", "--pattern", "2:4", *EPOCHS2),
    _trained("soft-movement-free", "half", "movement, soft, λ = 400, 4 epochs from pretrained", "--method", "soft_movement",
             "--regularization", "400", *EPOCHS4, start="pretrained"),

    # ---- heads and neurons
    _trained("heads-50-once", "structure", "half of the heads by importance, at once", "--method", "heads", "--sparsity", "0.5", "--one_shot", "true"),
    _trained("heads-50-random-once", "structure", "half of the heads at random, at once", "--method", "heads", "--sparsity", "0.5",
             "--importance", "random", "--one_shot", "true"),
    _trained("heads-50", "structure", "half of the heads, then 1 epoch", "--method", "heads", "--sparsity", "0.5", *EPOCH),
    _trained("neurons-50-once", "structure", "half of the neurons by Taylor score, at once", "--method", "neurons", "--sparsity", "0.5", "--one_shot", "true"),
    _trained("neurons-50-random-once", "structure", "half of the neurons at random, at once", "--method", "neurons", "--sparsity", "0.5",
             "--importance", "random", "--one_shot", "true"),
    _trained("neurons-50", "structure", "half of the neurons, then 1 epoch", "--method", "neurons", "--sparsity", "0.5", *EPOCH),
    _trained("mask-search-70", "structure", "mask search, 70 % of the multiplies, at once", "--method", "mask_search", "--budget", "0.7", "--one_shot", "true"),
    _trained("mask-search-50", "structure", "mask search, 50 % of the multiplies, at once", "--method", "mask_search", "--budget", "0.5", "--one_shot", "true"),
    _trained("mask-search-50-plain", "structure", "the same without rescaling", "--method", "mask_search", "--budget", "0.5", "--rescale", "false", "--one_shot", "true"),
    _trained("block-movement", "structure", "block movement and fill, 4 epochs from pretrained", "--method", "block_movement",
             "--sparsity", "0.5", *EPOCHS4, start="pretrained"),

    # ---- layers
    *[_trained(f"layers-{which}", "layers", f"{which}, then 2 epochs", "--method", "layers", "--which", which, "--drop", "3", *EPOCHS2,
               start="pretrained") for which in ("top", "bottom", "alternate", "symmetric", "contribution")],
    _trained("distill-3", "layers", "every other layer, distilled 2 epochs from the fine-tuned model", "--method", "layers",
             "--keep_layers", "0,2,4", *EPOCHS2, *TEACHER),

    # ---- factors
    *[_trained(f"{m}-once", "factors", f"{m}, half of the multiplies, at once", "--method", m, "--ratio", "0.5", "--one_shot", "true", command="factorize")
      for m in ("svd", "fwsvd", "drone", "low_rank_sparse")],
    *[_trained(m, "factors", f"{m}, half of the multiplies, then 1 epoch", "--method", m, "--ratio", "0.5", *EPOCH, command="factorize")
      for m in ("svd", "drone")],
    _trained("embedding-once", "factors", "word embeddings of rank 128, at once", "--method", "embedding", "--rank", "128", "--one_shot", "true", command="factorize"),
    _trained("embedding", "factors", "word embeddings of rank 128, then 1 epoch", "--method", "embedding", "--rank", "128", *EPOCH, command="factorize"),
    _trained("tucker", "factors", "Tucker, then 2 epochs with a teacher", "--method", "tucker", *EPOCHS2, *TEACHER, command="factorize"),

    # ---- sharing
    _trained("share-3", "sharing", "3 groups of 2 layers, the mean, then 2 epochs", "--groups", "3", *EPOCHS2, command="share"),
    _trained("share-3-repair", "sharing", "the same with a repair of rank 32", "--groups", "3", "--repair_rank", "32", *EPOCHS2, command="share"),
]
