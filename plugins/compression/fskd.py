"""Few-sample knowledge distillation by least squares (Li et al., CVPR 2020)."""

import torch

from ltbench import LogUniform, NonNegative, hookimpl
from ltbench.tracks.compression.pruning import portions, pruned, stayed, watched, weighted
from ltbench_plugins.compression.filter_pruning import L1


class FSKD(L1):
    """Prunes as `l1` does and aligns layer after layer with the teacher; no gradient, no labels.

    After each convolution a 1x1 one is inserted, fitted by least squares from what comes out of the
    pruned layer to what comes out of the teacher's at the filters that stayed, and merged into it.
    Earlier layers are aligned already. `ridge`, ours, pulls the 1x1 towards the identity by that
    share of the mean energy, which few rows need; the layer's error still never grows.
    """

    name = "fskd"
    reference = "arXiv:1812.01839"
    space = {"ridge": LogUniform(1e-5, 0.1)}

    def __init__(self, ridge: NonNegative = 1e-3):
        self.ridge = ridge

    @torch.no_grad()
    def build(self, model, run):
        chosen = pruned(model, run)
        for name in weighted(model):
            layer, kept = model.get_submodule(name), stayed(chosen, name, run.granted.teacher)
            merge(layer, fitted(*products(model, name, kept, run), self.ridge))
        return model


def products(model, name, kept, run):
    """The weighted products s's and s't [k, k] of a layer's output and the teacher's at `kept`."""
    own = shared = 0.0
    with watched(model, [name]) as student, watched(run.granted.teacher, [name]) as teacher:
        for inputs, weights in portions(run):
            model(inputs)
            run.granted.teacher(inputs)
            s, t = (channels_last(seen[name][1]) for seen in (student, teacher))
            weighed = s * weights.repeat_interleave(len(s) // len(weights))[:, None]
            own, shared = own + weighed.T @ s, shared + weighed.T @ t[:, kept]
    return own, shared


def fitted(own, shared, ridge):
    """The 1x1 convolution Q [k, k] for which Q s is nearest to t, and near to s."""
    pull = ridge * own.diagonal().mean().clamp(min=1e-12) * torch.eye(len(own)).to(own)
    return torch.linalg.solve(own + pull, shared + pull).T


def merge(layer, q):
    """The layer followed by a 1x1 convolution, as one layer."""
    layer.weight.copy_((q @ layer.weight.flatten(1)).reshape(layer.weight.shape))
    if layer.bias is not None:
        layer.bias.copy_(q @ layer.bias)


def channels_last(output):
    """What came out of a layer as rows [N * pixels, channels]."""
    return output.movedim(1, -1).flatten(0, -2)


@hookimpl
def register_methods(register):
    register(FSKD)
