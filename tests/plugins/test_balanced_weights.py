import torch

from ltbench import recipe
from ltbench.testing import probe_loss
from ltbench.testing.probes import probe_run


def test_a_row_of_class_c_weighs_n_over_c_times_n_c():
    weights = recipe("class-weights")
    run = probe_run(weights, (6, 3, 1), torch.float64)
    weights.prepare(run)
    expected = torch.tensor([10 / 18, 10 / 9, 10 / 3], dtype=torch.float64)
    torch.testing.assert_close(weights.weight(torch.arange(3), run), expected)


def test_in_a_network_it_is_inverse_frequency():
    scores = torch.tensor([[1.0, 0.5, -1.0], [0.2, 0.1, 0.0]], dtype=torch.float64)
    labels = torch.tensor([0, 2])
    first, second = (
        probe_loss(text, scores, labels, (6, 3, 1))
        for text in ("class-weights", "inverse-frequency")
    )
    torch.testing.assert_close(first, second)
