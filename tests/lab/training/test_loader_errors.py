"""Errors of the processes that prepare samples are sentences, as in one's own."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from rtseg.errors import DatasetError
from rtseg.lab.training.loader_errors import told_in_a_sentence


class Samples(Dataset[torch.Tensor]):
    def __init__(self, error: Exception) -> None:
        self.error = error

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> torch.Tensor:
        raise self.error


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_is_told_without_a_traceback(workers: int) -> None:
    said = "expected a picture, got a.jpg; copy it again"
    with pytest.raises(DatasetError) as told, told_in_a_sentence():
        list(DataLoader(Samples(DatasetError(said)), num_workers=workers))
    assert str(told.value) == said


def test_other_errors_stay_as_they_are() -> None:
    with pytest.raises(ValueError, match="Original Traceback"), told_in_a_sentence():
        list(DataLoader(Samples(ValueError("a fault")), num_workers=1))
