"""Scoring: LPIPS against the `lpips` package with the same trunk, and what is not computed."""

import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import rayzer
from rayzer.evaluation.scoring import Scorer, mean_scores
from rayzer.evaluation.settings import EvaluationConfig
from rayzer.losses.pretrained import LPIPS_LINEAR

from .conftest import DATA, RECORDINGS

package = pytest.importorskip("lpips")


@pytest.fixture(scope="module")
def metric():
    """The package's metric with a random trunk."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision's, of the argument `pretrained`
        return package.LPIPS(net="vgg", version="0.1", pnet_rand=True, verbose=False)


@pytest.fixture(scope="module")
def trunk_file(metric, tmp_path_factory):
    stages = (metric.net.slice1, metric.net.slice2, metric.net.slice3, metric.net.slice4, metric.net.slice5)
    state = {f"features.{name}": value for stage in stages for name, value in stage.state_dict().items()}
    file = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    torch.save(state, file)
    return file


def test_lpips_equals_the_package(tmp_path, run, words, results, metric, trunk_file):
    linear = Path(package.__file__).parent / LPIPS_LINEAR
    files = [f"evaluation.lpips_file={trunk_file}", f"evaluation.lpips_linear_file={linear}"]
    code, out, err = run(*words(), *files, "evaluation.no_leak=false", "-o", tmp_path / "out")
    assert (code, err) == (0, "")
    found = results(tmp_path / "out")
    recorded = load_file(DATA / "expected.safetensors")
    model = rayzer.load_model(RECORDINGS / "rayzer_tiny.pt", RECORDINGS / "rayzer_tiny.yaml")
    means = []
    for scene in found["scenes"]:
        name = scene["name"]
        images = recorded[f"{name}.image"][None]
        split = rayzer.ViewSplit(*(recorded[f"{name}.{part}_indices"][None] for part in ("context", "target")))
        with torch.no_grad():
            expected = metric(model(images, split).images[0], split.target_of(images)[0], normalize=True).flatten()
        assert [view["lpips"] for view in scene["views"]] == pytest.approx(expected.tolist(), rel=1e-5, abs=1e-6)
        means.append(expected.mean().item())
    assert found["summary"]["lpips"] == pytest.approx(sum(means) / len(means), rel=1e-5)
    assert "lpips" not in found["not_computed"]
    assert f"LPIPS {found['summary']['lpips']:.3f}" in out
    assert found["controls"]["copy_nearest"]["lpips"] is not None


@pytest.mark.parametrize(("size", "missing"), [(8, {"ssim", "lpips"}), (12, {"lpips"})])
def test_pictures_too_small_for_a_metric(size, missing):
    config = rayzer.RayZerConfig(image_height=size, image_width=2 * size, patch_size=4, width=64)
    scorer = Scorer.load(EvaluationConfig(), config, torch.device("cpu"))
    assert missing <= set(scorer.reasons)
    assert "pixels" in scorer.reasons["lpips"]
    pictures = torch.rand(2, 3, size, 2 * size)
    scores = scorer(pictures, pictures.flip(0))[0]
    assert scores.psnr is not None
    assert (scores.ssim is None) == ("ssim" in missing)


def test_equal_pictures_count_as_100_db():
    pictures = torch.rand(3, 3, 16, 16)
    scores = Scorer(None)(pictures, torch.cat([pictures[:1], pictures[:2]]))
    assert (scores[0].psnr, scores[0].ssim) == (100, pytest.approx(1))
    assert mean_scores(scores).psnr == pytest.approx(sum(score.psnr for score in scores) / 3)
