"""The pose probe: how much of the true cameras a small network can read from a model's frozen camera tokens.

Cameras that serve the renderer need not be the true ones. The probe tells "the model does not know the geometry" from
"it knows it and writes it down in its own way".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from rayzer.evaluation.poses import PoseScores, mean_pose_scores, pose_scores
from rayzer.geometry.cameras import Cameras, invert_rigid, rigid
from rayzer.geometry.precision import outside_autocast, rounding
from rayzer.geometry.rotations import rotation_from_6d
from rayzer.model.camera_estimator import IDENTITY, CanonicalView, canonical_index
from rayzer.progress import Advance

HIDDEN = 128


@dataclass(frozen=True, eq=False)
class ProbeScene:
    """What the probe sees of a scene.

    Attributes:
        tokens: [v, d] camera tokens of a frozen model, of any floating dtype.
        cameras: true cameras [v] of the same views, in any world.

    Raises:
        ValueError: if the shapes do not agree or there are fewer than two views.
    """

    tokens: Tensor
    cameras: Cameras

    def __post_init__(self) -> None:
        if self.tokens.ndim != 2 or self.cameras.shape != self.tokens.shape[:1] or len(self.tokens) < 2:
            raise ValueError(
                "a scene for the probe has tokens [v, d] and cameras [v] of two or more views, "
                f"got {list(self.tokens.shape)} and {list(self.cameras.shape)}"
            )


@dataclass(frozen=True)
class ProbeTraining:
    """How a probe is trained; AdamW with PyTorch's other defaults and a constant learning rate.

    Attributes:
        iterations: updates of the weights.
        learning_rate: of AdamW.
        batch: pairs (canonical view, other view) per update, drawn from those of all scenes with replacement, so
            that the cost does not grow with the number of scenes.
        seed: of the first weights and the batches.

    Raises:
        ValueError: if a number is not positive (the seed: negative).
    """

    iterations: int = 10_000
    learning_rate: float = 1e-4
    batch: int = 512
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.iterations, self.learning_rate, self.batch) <= 0 or self.seed < 0:
            raise ValueError(f"a probe's training takes positive numbers, got {self}")


class PoseProbe(nn.Module):
    """Linear - SiLU - Linear on the standardised tokens of the canonical and another view -> their relative pose."""

    def __init__(self, tokens_mean: Tensor, tokens_deviation: Tensor, canonical: CanonicalView):
        super().__init__()
        self.canonical: CanonicalView = canonical
        self.mean, self.deviation = nn.Buffer(tokens_mean), nn.Buffer(tokens_deviation)
        self.identity = nn.Buffer(torch.tensor(IDENTITY["6d"]))
        self.relative_pose = nn.Sequential(nn.Linear(2 * len(tokens_mean), HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, 9))

    def forward(self, canonical_tokens: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [n, d] of canonical views and others -> rotations [n, 3, 3] and translations [n, 3] of the others."""
        pair = torch.stack([canonical_tokens, tokens], -2)
        numbers = self.relative_pose(((pair - self.mean) / self.deviation).flatten(-2))
        return rotation_from_6d(numbers[:, :6] + self.identity), numbers[:, 6:]

    @outside_autocast
    @torch.no_grad()
    def poses(self, tokens: Tensor) -> Tensor:
        """Camera tokens [v, d] of one scene -> `world_from_camera` [v, 4, 4]; the canonical view is the identity.

        Translations have a root mean square length of about 1: scale is arbitrary.
        """
        tokens = tokens.to(self.mean)
        canonical = canonical_index(len(tokens), self.canonical)
        poses = rigid(*self(tokens[canonical].expand_as(tokens), tokens))
        poses[canonical] = torch.eye(4)
        return poses


@outside_autocast
def train_probe(
    scenes: Sequence[ProbeScene],
    canonical: CanonicalView = "middle",
    training: ProbeTraining | None = None,
    device: torch.device | str = "cpu",
    advance: Advance | None = None,
) -> PoseProbe:
    """Train a probe on scenes with known cameras, in float32.

    The loss is the mean squared error of the rotation matrices plus that of the translations, which are divided by
    their root mean square length in every scene. The global random state is neither used nor changed.

    Args:
        scenes: at least one; all tokens must have one width.
        canonical: the view whose frame is the world, as in the model that made the tokens.
        training: the default is 10,000 iterations.
        device: where the probe is trained, and stays.
        advance: told after every iteration.

    Raises:
        ValueError: if there are no scenes or their tokens differ in width.
    """
    training = training or ProbeTraining()
    widths = {scene.tokens.shape[1] for scene in scenes}
    if len(widths) != 1:
        raise ValueError(f"a probe is trained on scenes whose tokens have one width, got {sorted(widths)}")
    with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(training.seed)  # the CPU's alone
        probe = PoseProbe(*_mean_and_deviation(scenes), canonical).to(device)
        _fit(probe, _Pairs.of(scenes, canonical, device), training, advance)
    return probe


def probe_scores(probe: PoseProbe, scenes: Sequence[ProbeScene]) -> PoseScores:
    """Mean pose scores of the probe on scenes that it was not trained on; it has no focal lengths to be scored.

    Raises:
        ValueError: if there are no scenes.
    """

    def scores(scene: ProbeScene) -> PoseScores:
        return pose_scores(Cameras(probe.poses(scene.tokens), scene.cameras.intrinsics), scene.cameras)

    each = [scores(scene) for scene in scenes]
    return dataclasses.replace(mean_pose_scores(each), focal_error=None)


@dataclass(frozen=True, eq=False)
class _Pairs:
    """The canonical view with each other view, of all scenes: tokens [n, d] of both, and the relative poses."""

    canonical_tokens: Tensor
    tokens: Tensor
    rotations: Tensor
    translations: Tensor

    @staticmethod
    def of(scenes: Sequence[ProbeScene], canonical: CanonicalView, device: torch.device | str) -> _Pairs:
        columns = zip(*(_scene_pairs(scene, canonical) for scene in scenes), strict=True)
        return _Pairs(*(torch.cat(column).to(device) for column in columns))

    def __getitem__(self, index: Tensor) -> _Pairs:
        return _Pairs(*(getattr(self, field.name)[index] for field in dataclasses.fields(self)))


def _scene_pairs(scene: ProbeScene, canonical: CanonicalView) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    index = canonical_index(len(scene.tokens), canonical)
    others = torch.arange(len(scene.tokens)) != index
    tokens, poses = scene.tokens.float().cpu(), _unit_poses(scene.cameras, index)
    others_tokens = tokens[others]
    return tokens[index].expand_as(others_tokens), others_tokens, poses[others, :3, :3], poses[others, :3, 3]


def _unit_poses(cameras: Cameras, canonical: int) -> Tensor:
    """[v, 4, 4] float32 poses in the frame of the canonical view, with translations of root mean square length 1."""
    in_one_point = rounding(cameras.centers, (-1, -2)).item()
    world_from_camera = cameras.world_from_camera.detach().to("cpu", torch.float64)
    poses = invert_rigid(world_from_camera[canonical]) @ world_from_camera
    length = poses[:, :3, 3].square().sum(-1).mean().sqrt()
    scale = length if length > in_one_point else 1.0  # cameras that only turn have no scale
    return rigid(poses[:, :3, :3], poses[:, :3, 3] / scale).float()


def _mean_and_deviation(scenes: Sequence[ProbeScene]) -> tuple[Tensor, Tensor]:
    """[d] of every channel of the tokens; the deviation of a constant channel is 1."""
    tokens = torch.cat([scene.tokens.float().cpu() for scene in scenes])
    deviation = tokens.std(0, correction=0)
    constant = deviation <= rounding(tokens, 0)
    return tokens.mean(0), deviation.masked_fill(constant, 1.0)


def _fit(probe: PoseProbe, pairs: _Pairs, training: ProbeTraining, advance: Advance | None) -> None:
    optimizer = torch.optim.AdamW(probe.parameters(), lr=training.learning_rate)
    draws = torch.Generator().manual_seed(training.seed)
    for iteration in range(training.iterations):
        drawn = torch.randint(len(pairs.tokens), (training.batch,), generator=draws).to(pairs.tokens.device)
        batch = pairs[drawn]
        rotations, translations = probe(batch.canonical_tokens, batch.tokens)
        loss = mse_loss(rotations, batch.rotations) + mse_loss(translations, batch.translations)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if advance is not None:
            advance(iteration + 1, training.iterations)
