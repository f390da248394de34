"""RayZer (arXiv 2505.00702): read this file first.

images -> tokens -> cameras -> context tokens with rays -> latent scene -> pictures from any camera
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from rayzer.geometry.cameras import Cameras
from rayzer.model.camera_estimator import CameraEstimator, CameraHead, CanonicalView, RotationCode
from rayzer.model.checks import check_cameras, check_config, check_images, check_positions
from rayzer.model.renderer import Renderer, RendererKind
from rayzer.model.scene_encoder import SceneEncoder, SceneTokens, TokenFusion
from rayzer.model.tokens import PatchEmbedding, PositionCode, RayEmbedding, mlp, token_code
from rayzer.model.transformer import BlockInit, Transformer
from rayzer.model.unposed import UnposedModel
from rayzer.view_split import ViewSplit


@dataclass(frozen=True)
class RayZerConfig:
    """Everything that fixes a RayZer model; the defaults are the released 8/12/12 model (238.36 M parameters).

    Attributes:
        image_height, image_width: size in pixels of the pictures it was trained on.
        context_views, target_views: how many views of each kind it was trained on; RayZer's index code makes it work
            well for exactly this many.
        patch_size: side of a patch in pixels.
        width: d, the width of a token.
        head_width: width of an attention head.
        camera_layers, scene_layers, renderer_layers: blocks of the three transformers.
        scene_tokens: s, the length of the latent scene.
        canonical: the view that defines the world frame.
        rotation: what the pose head predicts.
        qk_norm: RMSNorm of queries and keys.
        position_code: "row_column", "reference" (its slip on non-square pictures), or "none".
        block_init: std of the blocks' Linears: 0.02 / sqrt(2 (i + 1)) ("depth"), 0.02 / sqrt(2 layers) ("stack"), 0.02.
        renderer: "joint" as in the paper, or "one_way": the same weights, but the scene does not look at the rays of
            the view that is rendered, which costs a twelfth once it is encoded; fine-tune weights for it.
    """

    image_height: int = 256
    image_width: int = 256
    context_views: int = 16
    target_views: int = 8
    patch_size: int = 16
    width: int = 768
    head_width: int = 64
    camera_layers: int = 8
    scene_layers: int = 12
    renderer_layers: int = 12
    scene_tokens: int = 3072
    canonical: CanonicalView = "middle"
    rotation: RotationCode = "6d"
    qk_norm: bool = True
    position_code: PositionCode = "row_column"
    block_init: BlockInit = "depth"
    renderer: RendererKind = "joint"

    def __post_init__(self) -> None:
        check_config(self)


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model returns.

    Attributes:
        images: [b, t, 3, h, w] rendered target views in [0, 1].
        cameras: [b, v] cameras of all views.
        points: [b, v, rows, columns, 3] what the centres of all patches show, in the frame of the canonical view, at a
            scale of their own: a mean distance of 1 from it, as far as they are learned (`training.cameras.points`).
            Only of models that are asked for them (`AnyViewConfig.patch_points`).
    """

    images: Tensor
    cameras: Cameras
    points: Tensor | None = None


class RayZer(UnposedModel):
    """Self-supervised large view synthesis model: pictures in; cameras, a latent scene and new pictures out."""

    takes_any_views = False  # its code of positions has seen as many as it was trained on

    def __init__(self, config: RayZerConfig):
        super().__init__()
        self.config = config
        d, patch = config.width, config.patch_size

        def transformer(layers: int) -> Transformer:
            return Transformer(layers, d, config.head_width, config.qk_norm, config.block_init)

        coded = config.position_code != "none"
        self.image_embedding = PatchEmbedding(3, patch, d)
        self.position_mlp = mlp(d, d, d) if coded else None
        self.camera_estimator = CameraEstimator(
            d,
            transformer(config.camera_layers),
            CameraHead(d, config.canonical, config.rotation),
            mlp(d, d, d) if coded else nn.Identity(),
        )
        self.ray_embedding = RayEmbedding(patch, d)
        self.fusion = TokenFusion(d)
        self.scene_encoder = SceneEncoder(config.scene_tokens, d, transformer(config.scene_layers))
        self.renderer = Renderer(d, patch, transformer(config.renderer_layers), config.renderer)

    def forward(self, images: Tensor, split: ViewSplit) -> Prediction:
        """Predict the cameras of all views and render the target views from the context views.

        Args:
            images: [b, v, 3, h, w] in [0, 1]; h and w are multiples of the patch size.
            split: which of the v views are context and which target.

        Raises:
            InputError: if the images do not have that form.
        """
        positions = self._positions(images)
        tokens = self.tokenize(images, positions)  # b v n d
        cameras = self.camera_estimator(tokens, positions)  # b v
        scene = self._scene(images, split.context_of(tokens), split.context_of(cameras))
        return Prediction(self.render(scene, split.target_of(cameras)), cameras)

    def tokenize(self, images: Tensor, positions: Tensor) -> Tensor:
        """Image tokens [b, v, n, d] of images [b, v, 3, h, w], with a code of place and `positions` [b or 1, v]."""
        tokens = self.image_embedding(2 * images - 1)
        if self.position_mlp is None:
            return tokens
        rows, columns = (size // self.config.patch_size for size in images.shape[-2:])
        code = token_code(positions, rows, columns, self.config.width, self.config.position_code)
        return tokens + self.position_mlp(code)

    def estimate_cameras(self, images: Tensor, positions: Tensor | None = None) -> Cameras:
        """Cameras [b, v] of images [b, v, 3, h, w] in [0, 1], in the frame of the canonical view; scale is arbitrary.

        Args:
            positions: [b, v] index of each view in its sequence; 0..v-1 if not given.
        """
        positions = self._positions(images, positions)
        return self.camera_estimator(self.tokenize(images, positions), positions)

    def camera_tokens(self, images: Tensor, positions: Tensor | None = None) -> Tensor:
        """Camera tokens [b, v, d] of images [b, v, 3, h, w] in [0, 1]: all that the camera head reads of the pictures.

        Args:
            positions: [b, v] index of each view in its sequence; 0..v-1 if not given.
        """
        positions = self._positions(images, positions)
        return self.camera_estimator.tokens(self.tokenize(images, positions), positions)

    def reconstruct(self, images: Tensor, cameras: Cameras, positions: Tensor | None = None) -> SceneTokens:
        """The latent scene of context images [b, c, 3, h, w] in [0, 1] taken by `cameras` [b, c].

        Args:
            positions: [b, c] index of each view in its sequence; 0..c-1 if not given.
        """
        positions = self._positions(images, positions)
        check_cameras(cameras, images)
        return self._scene(images, self.tokenize(images, positions), cameras)

    def render(self, scene: SceneTokens, cameras: Cameras) -> Tensor:
        """Pictures [b, t, 3, h, w] in [0, 1] of scenes [b] seen by `cameras` [b, t]; each view is independent."""
        return self.renderer(scene, cameras)

    def remember(self, scene: SceneTokens) -> SceneTokens:
        """The scene with its memory, made anew where it was left out; a joint renderer has none."""
        return scene if scene.memory else replace(scene, memory=self.renderer.memorize(scene.tokens))

    def _scene(self, images: Tensor, tokens: Tensor, cameras: Cameras) -> SceneTokens:
        # The scene sees the image tokens before the camera estimator: its outputs have seen the target pictures.
        height, width = images.shape[-2:]
        rays = self.ray_embedding(cameras, height, width)
        scene = self.scene_encoder(self.fusion(tokens, rays))
        return SceneTokens(scene, height, width, memory=self.renderer.memorize(scene))

    def _positions(self, images: Tensor, positions: Tensor | None = None) -> Tensor:
        """[b, v], or [1, v] where all samples share them: their code is then computed once."""
        check_images(images, self.config.patch_size)
        if positions is not None:
            check_positions(positions, images)
            return positions.view(-1, images.shape[1])
        return torch.arange(images.shape[1], device=images.device)[None]
