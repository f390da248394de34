import pytest
import torch

from rayzer import Cameras, ViewSplit


def test_takes_views_of_tensors_and_cameras():
    views = torch.arange(2 * 5 * 3).reshape(2, 5, 3)
    split = ViewSplit(torch.tensor([[4, 0], [1, 1]]), torch.tensor([[2], [3]]))
    assert torch.equal(split.context_of(views), torch.stack([views[0, [4, 0]], views[1, [1, 1]]]))
    assert torch.equal(split.target_of(views), torch.stack([views[0, [2]], views[1, [3]]]))
    pose = torch.eye(4).repeat(2, 5, 1, 1)
    pose[..., 0, 3] = torch.arange(10.0).reshape(2, 5)
    taken = split.context_of(Cameras(pose, torch.ones(2, 5, 4)))
    assert taken.shape == (2, 2)
    assert taken.centers[..., 0].tolist() == [[4, 0], [6, 6]]


@pytest.mark.parametrize(
    ("context", "target", "named"),
    [
        (torch.zeros(2, 2), torch.zeros(2, 2).long(), "context must be int64"),
        (torch.zeros(2, 2).long(), torch.zeros(2, 2).int(), "target must be int64"),
        (torch.zeros(2).long(), torch.zeros(2, 2).long(), "context must be int64"),
        (torch.zeros(2, 0).long(), torch.zeros(2, 2).long(), "context must be int64"),
        (torch.zeros(2, 2).long(), torch.zeros(3, 2).long(), "2 samples in context and 3 in target"),
    ],
)
def test_refuses_what_is_not_indices(context, target, named):
    with pytest.raises(ValueError, match=named):
        ViewSplit(context, target)


def test_refuses_views_of_another_batch_size():
    split = ViewSplit(torch.tensor([[0, 1]]), torch.tensor([[2]]))
    with pytest.raises(ValueError, match="of 1 samples, the views are of 2"):
        split.context_of(torch.zeros(2, 3))


def test_moves_to_a_device():
    split = ViewSplit(torch.zeros(1, 2).long(), torch.ones(1, 1).long()).to("meta")
    assert split.context.is_meta
    assert split.target.is_meta
