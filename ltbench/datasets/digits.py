"""Handwritten digits: 1,797 grey images of 8x8 (Alpaydin & Kaynak), shipped in scikit-learn."""

import torch
from sklearn.datasets import load_digits

from ltbench.contract.context import Rows
from ltbench.datasets import Dataset


def load() -> Dataset:
    digits = load_digits()
    inputs = torch.from_numpy(digits.data).float().div(16).reshape(-1, 1, 8, 8)
    return Dataset(
        train=Rows(inputs, torch.from_numpy(digits.target).long()),
        classes=tuple(str(digit) for digit in digits.target_names),
    )
