"""Architectures of torchvision for images, by name; built without weights, nothing is fetched."""

from msgspec import Struct
from torch import Tensor, nn
from torchvision.models import get_model, list_models

from ltbench.errors import LTBenchError, UnknownName
from ltbench.models import Branched

HEADS = ("fc", "classifier", "heads", "head")  # where architectures have their last layer
OTHERWISE = ("googlenet", "inception_v3")  # put out more than features while they train


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """The name of the architecture, as "resnet18"."""

    architecture: str


class Network(Branched):
    """All of the architecture but its last linear layer is the trunk; the head is a new one."""

    def __init__(self, shape: tuple[int, ...], num_classes: int, options: Options) -> None:
        super().__init__()
        self.architecture = options.architecture
        if len(shape) != 3 or shape[0] != 3:
            raise LTBenchError(f"{self.architecture} takes colour images, not {list(shape)}")
        known = [n for n in list_models() if n not in OTHERWISE and "/" not in n]
        if self.architecture not in known:
            raise UnknownName("architecture", self.architecture, known, "of torchvision.models")
        whole = get_model(self.architecture, weights=None)
        self.upstream_head, last = last_linear(whole, self.architecture)
        above, _, name = self.upstream_head.rpartition(".")
        setattr(whole.get_submodule(above), name, nn.Identity())
        self.trunk = whole
        self.branch = nn.Sequential()
        self.head = nn.Linear(last.in_features, num_classes)

    def features(self, x: Tensor) -> Tensor:
        return super().features(x).flatten(1)


def last_linear(whole: nn.Module, architecture: str) -> tuple[str, nn.Linear]:
    """The last linear layer of an architecture with its name.

    Raises:
        LTBenchError: it ends in something else.
    """
    for name, module in reversed([*whole.named_modules()]):
        if name.partition(".")[0] in HEADS and isinstance(module, nn.Linear):
            return name, module
    raise LTBenchError(f"{architecture} does not end in a linear layer; take another architecture")
