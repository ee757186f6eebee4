"""Numbers that released code gave when it was run, beside what is here for the same inputs."""

import pytest
import torch

from ltbench import CosineHead, Rows, recipe
from ltbench.testing import probe_loss
from ltbench.toolbox import contrast, info_nce


def float64(values):
    return torch.tensor(values, dtype=torch.float64)


# FeTrIL, compute_distances.py: features of four classes, of which the first two are past
CLASSES = [
    [[1.788628, 0.43651], [0.096497, -1.863493], [-0.277388, -0.354759]],
    [[0.917259, 0.372999], [0.956182, 0.522782], [-0.313865, 1.884622], [1.881318, 2.709573]],
    [
        [2.050034, 1.595323],
        [1.45464, 0.453523],
        [2.982367, 0.898932],
        [0.814953, 1.79435],
        [3.486148, 2.236716],
    ],
    [
        [1.976215, 2.287007],
        [3.625245, 2.839487],
        [2.231164, 2.769969],
        [3.745056, 4.976111],
        [1.755877, 2.373583],
        [2.196234, 0.580917],
    ],
]
MOVED = [
    [0.42831793, -0.3943598],
    [-0.16707607, -1.5361598],
    [1.36065093, -1.0907508],
    [-0.80676307, -0.1953328],
    [1.86443193, 0.2470332],
]


class Bare:
    """Stands for a run whose network hands its inputs through as features."""

    def features(self, inputs):
        return inputs


def test_pseudo_features_are_fetrils_where_angle_and_distance_name_one_neighbour():
    """For its other past class the code's nearest mean by distance is another than by cosine."""
    labels = torch.arange(4).repeat_interleave(torch.tensor([len(rows) for rows in CLASSES]))
    rows = Rows(torch.cat([float64(rows) for rows in CLASSES]), labels)
    after = recipe("pseudo-features").methods[0].enter(rows, Bare())
    made, of = after.inputs[len(rows) :], after.labels[len(rows) :]
    torch.testing.assert_close(made[of == 0], float64(MOVED), rtol=0, atol=1e-7)
    assert len(made[of == 1]) == len(CLASSES[3])  # by distance it would be those of class 2


# BaCon, SupConLoss at temperature 0.07: two views of four rows
VIEWS = [
    [
        [-0.718404, 0.645105, 0.237473, -0.093604, 0.002824, 0.050714],
        [-0.821242, -0.265445, 0.2296, 0.334879, 0.248659, -0.168552],
    ],
    [
        [0.466799, 0.69371, -0.160024, -0.146411, 0.432619, -0.25819],
        [-0.226762, 0.366844, -0.161741, 0.699331, -0.267372, -0.476753],
    ],
    [
        [0.631862, 0.67733, 0.198563, -0.219401, 0.07569, 0.220641],
        [-0.046392, -0.11679, -0.834109, 0.033858, -0.168954, 0.508702],
    ],
    [
        [0.049256, -0.114582, 0.254682, -0.604213, -0.179477, -0.722701],
        [0.090719, -0.064136, 0.391241, 0.125212, 0.838043, 0.341457],
    ],
]


def test_contrast_is_supcons_loss_and_info_nce_is_that_without_labels():
    first, second = float64(VIEWS).unbind(dim=1)
    z, labels = torch.cat([first, second]), torch.tensor([0, 0, 1, 2]).repeat(2)
    others = ~torch.eye(8, dtype=torch.bool)
    mates = (labels[:, None] == labels) & others
    assert contrast(z @ z.T / 0.07, mates, others).item() == pytest.approx(6.6636028, abs=1e-4)
    assert info_nce(z, torch.arange(4, 8), 0.07).item() == pytest.approx(5.6125474, abs=1e-4)


# FedETF, balanced_softmax_loss with counts 10, 4, 0 and 2: a class without rows drops out there
SCORES = [
    [-0.224835735, -0.252874783, -0.064437185, 1.64541246],
    [1.131220368, 0.654401616, 0.847522489, -0.582944253],
    [0.719744856, -0.058078956, -0.308387378, -0.29632168],
    [-0.572660116, 0.529139395, -0.017179308, 0.082187869],
    [-0.341396203, 0.057284537, -0.531370452, -0.176607537],
]


def test_balanced_softmax_is_fedetfs():
    scores, labels = float64(SCORES)[:, [0, 1, 3]], torch.tensor([0, 1, 2, 0, 1])
    found = probe_loss("balanced-softmax", scores, labels, (10, 4, 2))
    assert found.item() == pytest.approx(1.511879045, abs=1e-8)


# LIFT, classifiers.py and losses.py
FEATURES = [
    [-1.525596, -0.750232, -0.653981, -1.609485, -0.100167, -0.609189, -0.979772, -1.609096],
    [-0.712145, 0.303722, -0.777314, -0.251455, -0.22227, 1.687113, 0.228425, 0.467636],
    [-0.696972, -1.160761, 0.699542, 0.199082, 0.865692, 0.244404, -0.662911, 0.807308],
    [-1.882143, -0.776545, 2.024202, -0.086541, 0.098124, -1.215007, 0.731167, 1.171805],
    [2.406978, 0.278566, 0.246753, 1.184327, -0.728214, 1.163274, -0.009075, -0.842463],
]
WEIGHTS = [
    [-0.06412, 0.473335, 0.455305, -0.29532, 0.50961, 0.1289, -0.345991, 0.285129],
    [-0.437345, 0.541239, -0.3766, 0.165681, 0.178377, 0.139338, 0.485877, -0.243313],
    [-0.29433, -0.604159, -0.028612, -0.33027, 0.027936, -0.142921, 0.231321, 0.603116],
    [0.209792, -0.229033, -0.348871, -0.620076, 0.598245, -0.134687, 0.143513, 0.0263],
]
COSINES = [
    [-2.62312, 0.42639, 2.70763, 7.30969],
    [0.8106, 10.91802, 2.59955, -1.27024],
    [8.32119, -10.70368, 13.84625, 1.97632],
    [4.94407, -3.33684, 14.99016, -3.74694],
    [-5.69777, -4.48964, -15.64451, -7.89528],
]


def test_a_cosine_head_is_lifts():
    head = CosineHead(8, 4, scale=25.0).double()
    with torch.no_grad():
        head.weight.copy_(float64(WEIGHTS))
        torch.testing.assert_close(head(float64(FEATURES)), float64(COSINES), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("text", "loss"),
    [
        ("logit-adjustment", 6.611145),
        ("balanced-softmax", 6.611145),
        ("class-balanced", 9.683671),
        ("inverse-frequency", 9.684447),
    ],
)
def test_losses_are_lifts(text, loss):
    labels = torch.tensor([0, 1, 2, 3, 3])
    found = probe_loss(text, float64(COSINES), labels, (100, 30, 8, 2))
    assert found.item() == pytest.approx(loss, abs=2e-4)  # theirs are of float32
