"""Muon for many matrices at once against torch's, one by one."""

import pytest
import torch

from rayzer.training.muon import BatchedMuon, orthogonalized

SHAPES = [(8, 32), (32, 8), (8, 32), (16, 16), (32, 8), (96, 32), (8, 32), (1, 5)]


def trained(kind, steps=4, without=()):
    """Matrices after some steps with random gradients; those at `without` have none."""
    torch.manual_seed(0)
    matrices = [torch.nn.Parameter(torch.randn(shape)) for shape in SHAPES]
    optimizer = kind(matrices, lr=0.02, weight_decay=0.1, momentum=0.9, adjust_lr_fn="match_rms_adamw")
    for step in range(steps):
        for index, matrix in enumerate(matrices):
            gradient = torch.randn(matrix.shape) * 10.0 ** (index - 4)  # drawn for all, so that others stay the same
            matrix.grad = None if index in without else gradient
        if step == 2:
            optimizer.param_groups[0]["lr"] = 0.01
        optimizer.step()
    return matrices, optimizer


@pytest.mark.parametrize("without", [(), (0, 4)], ids=str)
def test_equals_torchs_muon(without):
    ours, theirs = (trained(kind, without=without) for kind in (BatchedMuon, torch.optim.Muon))
    for index, (a, b) in enumerate(zip(ours[0], theirs[0], strict=True)):
        assert torch.equal(a, b), index
        if index not in without:
            momenta = [made.state[p]["momentum_buffer"] for (_, made), p in ((ours, a), (theirs, b))]
            assert torch.equal(*momenta)


def test_what_has_no_gradient_stays():
    matrices, optimizer = trained(BatchedMuon, without=(3,))
    torch.manual_seed(0)
    first = [torch.randn(shape) for shape in SHAPES]
    assert [torch.equal(a, b) for a, b in zip(matrices, first, strict=True)] == [i == 3 for i in range(len(SHAPES))]
    assert matrices[3] not in optimizer.state


@pytest.mark.parametrize("shape", [(3, 16, 48), (3, 48, 16)], ids=str)
def test_updates_are_nearly_orthogonal(shape):
    torch.manual_seed(0)
    defaults = BatchedMuon([torch.nn.Parameter(torch.zeros(1, 1))]).param_groups[0]
    found = orthogonalized(torch.randn(shape).bfloat16(), defaults["ns_coefficients"], defaults["ns_steps"], 1e-7)
    values = torch.linalg.svdvals(found.float())
    assert found.shape == shape
    assert 0.5 < values.min() < values.max() < 1.4


def test_matrices_of_zeros_stay_finite():
    matrix = torch.nn.Parameter(torch.ones(4, 8))
    matrix.grad = torch.zeros(4, 8)
    BatchedMuon([matrix], lr=0.1, weight_decay=0.0, adjust_lr_fn="match_rms_adamw").step()
    assert torch.equal(matrix, torch.ones(4, 8))
