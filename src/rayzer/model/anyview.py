"""AnyViewRayZer: RayZer for any number of views, whose scene is the tokens of its views and which renders one way.

images -> cameras; images and rays -> tokens of every context view -> what rays read of them, kept -> pictures
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn

from rayzer.errors import InputError
from rayzer.geometry.cameras import Cameras
from rayzer.geometry.precision import outside_autocast
from rayzer.model.attention import KeyValue
from rayzer.model.camera_estimator import CameraHead, CanonicalView, RotationCode, canonical_index
from rayzer.model.checks import (
    check_cameras,
    check_canonical,
    check_config,
    check_images,
    check_positions,
    check_render_cameras,
)
from rayzer.model.rayzer import Prediction
from rayzer.model.renderer import ToPixels
from rayzer.model.scene_encoder import SceneTokens
from rayzer.model.tokens import PatchEmbedding, RayEmbedding, mlp, position_code
from rayzer.model.unposed import UnposedModel
from rayzer.model.view_codes import ViewCode, camera_code, place_code
from rayzer.model.view_transformer import ReadingTransformer, ViewTransformer
from rayzer.view_split import ViewSplit

OrderCode = Literal["none", "index", "relative"]
FOCAL_RANGE = (0.4, 2.1)  # of the short side: fields of view from 103 to 27 degrees
_LONGEST = 24.0  # from the first to the last view, in the units of the code of relative order


@dataclass(frozen=True)
class AnyViewConfig:
    """Everything that fixes an AnyViewRayZer model.

    Attributes:
        image_height, image_width: size in pixels of the pictures it was trained on; it takes others, too.
        context_views, target_views: how many views of each kind it is shown where nothing else is asked for.
        patch_size: side of a patch in pixels.
        width: d, the width of a token.
        head_width: width of an attention head, a multiple of 16.
        camera_layers, scene_layers: blocks of camera estimator and scene encoder, in turns within and across views.
        renderer_layers: blocks through which rays read the scene.
        relative_cameras: attention across views knows the cameras relative to each other (`view_codes`).
        order_code: what the camera estimator is told of the order of views: nothing, their positions, or how far they
            are from the canonical one relative to the longest distance. To "relative", equal positions, as without
            any, say that the order is not known, for which it is trained, too.
        canonical: the view that defines the world frame.
        rotation: what the pose head predicts.
        patch_points: the camera estimator also tells the point that the centre of every patch shows. Nothing reads
            them: being asked for them teaches it cameras (`training.cameras.points`).
    """

    image_height: int = 256
    image_width: int = 256
    context_views: int = 16
    target_views: int = 8
    patch_size: int = 16
    width: int = 768
    head_width: int = 64
    camera_layers: int = 12
    scene_layers: int = 12
    renderer_layers: int = 12
    relative_cameras: bool = True
    order_code: OrderCode = "none"
    canonical: CanonicalView = "middle"
    rotation: RotationCode = "6d"
    patch_points: bool = False

    def __post_init__(self) -> None:
        check_config(self)
        if self.head_width % 16:
            raise InputError(f"model.head_width = {self.head_width} is not a multiple of 16, which the codes need")


class ViewCameraEstimator(nn.Module):
    """Cameras of any number of views: one learned token per view gathers what its camera is told by.

    The canonical view has a token of its own, so that the others can be found relative to it.
    """

    def __init__(self, config: AnyViewConfig):
        super().__init__()
        d = config.width
        self.config = config
        self.image_embedding = PatchEmbedding(3, config.patch_size, d)
        self.camera_token = nn.Parameter(nn.init.trunc_normal_(torch.empty(d), std=0.02))
        self.canonical_token = nn.Parameter(nn.init.trunc_normal_(torch.empty(d), std=0.02))
        self.order_mlp = None if config.order_code == "none" else mlp(d, d, d)
        self.transformer = ViewTransformer(config.camera_layers, d, config.head_width)
        self.norm = nn.LayerNorm(d, eps=1e-5, bias=False)
        self.head = CameraHead(d, config.canonical, config.rotation, FOCAL_RANGE)
        self.point_head = PointHead(d) if config.patch_points else None

    def forward(self, images: Tensor, positions: Tensor | None, canonical: int) -> tuple[Cameras, Tensor | None]:
        """Images [b, v, 3, h, w] in [0, 1] -> cameras [b, v] in the frame of the canonical view, points if asked for.

        Points [b, v, rows, columns, 3] are as in `Prediction`.
        """
        tokens = self._all_tokens(images, positions, canonical)
        cameras = self.head(self.norm(tokens[:, :, 0]), canonical)
        height, width = images.shape[-2:]
        short = min(height, width)
        fx, fy, *center = cameras.intrinsics.unbind(-1)  # so far of the short side
        intrinsics = torch.stack([fx * (short / width), fy * (short / height), *center], -1)
        cameras = Cameras(cameras.world_from_camera, intrinsics)
        if self.point_head is None:
            return cameras, None
        return cameras, self.point_head(tokens[:, :, 1:]).unflatten(2, (height // self.config.patch_size, -1))

    def tokens(self, images: Tensor, positions: Tensor | None, canonical: int) -> Tensor:
        """Images [b, v, 3, h, w] in [0, 1] -> camera tokens [b, v, d]."""
        return self.norm(self._all_tokens(images, positions, canonical)[:, :, 0])

    def _all_tokens(self, images: Tensor, positions: Tensor | None, canonical: int) -> Tensor:
        """[b, v, 1 + n, d]: of every view the camera token, and those of its patches."""
        b, v, _, height, width = images.shape
        patch, head_width = self.config.patch_size, self.config.head_width
        is_canonical = (torch.arange(v, device=images.device) == canonical)[:, None]
        camera = torch.where(is_canonical, self.canonical_token, self.camera_token)[:, None].expand(b, v, 1, -1)
        tokens = self.image_embedding(2 * images - 1)
        tokens = torch.cat([camera.to(tokens.dtype), tokens], 2)
        if self.order_mlp is not None and positions is not None:
            tokens = tokens + self.order_mlp(self._order(positions, canonical))[:, :, None].to(tokens.dtype)
        place = place_code(height // patch, width // patch, head_width, images.device, extra=1)
        return self.transformer(tokens, place, place)

    def _order(self, positions: Tensor, canonical: int) -> Tensor:
        """Code [b or 1, v, d] of the positions [b or 1, v]."""
        x = positions.float()
        if self.config.order_code == "relative":
            longest = (x.amax(1, keepdim=True) - x.amin(1, keepdim=True)).clamp(min=1)
            x = (x - x[:, canonical : canonical + 1]) * (_LONGEST / longest)
        return position_code(x, self.config.width)


class PointHead(nn.Module):
    """Tokens of patches [..., d] -> the points [..., 3] that their centres show, in float32 outside autocast."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-5, bias=False)
        self.point = nn.Linear(width, 3)

    @outside_autocast
    def forward(self, tokens: Tensor) -> Tensor:
        """Points of tokens."""
        return self.point(self.norm(tokens.float()))


class ViewSceneEncoder(nn.Module):
    """The scene as the tokens of its views, which have seen each other."""

    def __init__(self, config: AnyViewConfig):
        super().__init__()
        d = config.width
        self.image_embedding = PatchEmbedding(3, config.patch_size, d)
        self.ray_embedding = RayEmbedding(config.patch_size, d)
        self.transformer = ViewTransformer(config.scene_layers, d, config.head_width)
        self.norm = nn.LayerNorm(d, eps=1e-5, bias=False)

    def forward(self, images: Tensor, cameras: Cameras, within: ViewCode, across: ViewCode) -> Tensor:
        """Images [b, c, 3, h, w] in [0, 1] taken by cameras [b, c] -> tokens [b, c, n, d]."""
        rays = self.ray_embedding(cameras, *images.shape[-2:])
        return self.norm(self.transformer(self.image_embedding(2 * images - 1) + rays, within, across))


class ViewRenderer(nn.Module):
    """The rays of each target view read the tokens of the scene's views, which do not look back."""

    def __init__(self, config: AnyViewConfig):
        super().__init__()
        d = config.width
        self.ray_embedding = RayEmbedding(config.patch_size, d)
        self.transformer = ReadingTransformer(config.renderer_layers, d, config.head_width)
        self.to_pixels = ToPixels(d, config.patch_size)

    def forward(
        self, cameras: Cameras, size: tuple[int, int], within: ViewCode, across: ViewCode, memory: tuple[KeyValue, ...]
    ) -> Tensor:
        """Pictures [b, t, 3, h, w] of `size` (height, width) seen by cameras [b, t]."""
        rays = self.ray_embedding(cameras, *size)
        return self.to_pixels(self.transformer(rays, within, across, memory), size[0])


class AnyViewRayZer(UnposedModel):
    """RayZer for any number of views, any order of them, and pictures of any shape."""

    takes_any_views = True

    def __init__(self, config: AnyViewConfig):
        super().__init__()
        self.config = config
        self.camera_estimator = ViewCameraEstimator(config)
        self.scene_encoder = ViewSceneEncoder(config)
        self.renderer = ViewRenderer(config)

    def forward(
        self,
        images: Tensor,
        split: ViewSplit | None,
        positions: Tensor | None = None,
        canonical: int | None = None,
        shown: Tensor | None = None,
        given: Cameras | None = None,
    ) -> Prediction:
        """Predict the cameras of all views and render the target views from the context views.

        Args:
            images: [b, v, 3, h, w] in [0, 1]; h and w are multiples of the patch size.
            split: which of the v views are context and which target; None for cameras alone, and no pictures.
            positions: [b, v] index of each view in its sequence, for order codes; if None, 0 to v - 1 or not known.
            canonical: the view that defines the world frame; the configured one if None.
            shown: what the camera estimator sees in place of the images: their changed copies, in training.
            given: [b, v] cameras to render with in place of the predicted ones, for training: in the frame of the
                canonical view, at a mean distance of 1 from it. Samples that have one which is not finite are
                rendered with predicted ones.

        Raises:
            InputError: if images or given cameras do not have that form, or there is no such canonical view.
        """
        seen = images if shown is None else shown
        cameras, points = self.camera_estimator(seen, *self._checked(seen, positions, canonical))
        if split is None:
            return Prediction(images[:, :0], cameras, points)
        used = cameras
        if given is not None:
            check_cameras(given, images)
            used = _where_known(given, cameras)
        scene = self.reconstruct(split.context_of(images), split.context_of(used))
        return Prediction(self.render(scene, split.target_of(used)), cameras, points)

    def positions_of(self, frames: Tensor) -> Tensor | None:
        """Positions [b, v] for the code of relative order: the frames [b, v] themselves; None for other codes."""
        return frames if self.config.order_code == "relative" else None

    def estimate_cameras(self, images: Tensor, positions: Tensor | None = None) -> Cameras:
        """Cameras [b, v] of images [b, v, 3, h, w] in [0, 1], in the frame of the canonical view; scale is arbitrary.

        Args:
            positions: [b, v] index of each view in its sequence, for order codes; if None, 0 to v - 1 or not known.
        """
        return self.camera_estimator(images, *self._checked(images, positions, None))[0]

    def camera_tokens(self, images: Tensor, positions: Tensor | None = None) -> Tensor:
        """Camera tokens [b, v, d] of images [b, v, 3, h, w] in [0, 1]: all that the camera head reads of the pictures.

        Args:
            positions: as in `estimate_cameras`.
        """
        return self.camera_estimator.tokens(images, *self._checked(images, positions, None))

    def reconstruct(self, images: Tensor, cameras: Cameras, positions: Tensor | None = None) -> SceneTokens:
        """The scene of context images [b, c, 3, h, w] in [0, 1] taken by `cameras` [b, c].

        Args:
            positions: as in `RayZer.reconstruct`, so that all models are called alike; order does not matter here.
        """
        check_images(images, self.config.patch_size)
        check_cameras(cameras, images)
        size = height, width = images.shape[-2], images.shape[-1]
        within, across = self._codes(size, cameras)
        tokens = self.scene_encoder(images, cameras, within, across)
        memory = self.renderer.transformer.memorize(tokens, across)
        return SceneTokens(rearrange(tokens, "b c n d -> b (c n) d"), height, width, cameras, memory)

    def extend(self, scene: SceneTokens, images: Tensor, cameras: Cameras) -> SceneTokens:
        """A scene with more views [b, c, ...]; what is there already is not computed again.

        The new views see each other, but not the old ones, which costs some quality compared with a new scene of all.

        Raises:
            InputError: if the new pictures have another size, or are of another number of scenes.
        """
        check_images(images, self.config.patch_size)
        have, new = (len(scene.tokens), scene.height, scene.width), (len(images), *images.shape[-2:])
        if have != new:
            told = (f"{count} of {width}x{height} pixels" for count, height, width in (have, new))
            raise InputError("scenes are extended with pictures of their own number and size: {}, not {}".format(*told))
        scene, more = self.remember(scene), self.reconstruct(images, cameras)
        layers = zip(scene.memory, more.memory, strict=True)
        memory = tuple(KeyValue(*(torch.cat(pair, 2) for pair in zip(a, b, strict=True))) for a, b in layers)
        both = Cameras.cat([each.cameras for each in (scene, more) if each.cameras is not None], 1)  # all have them
        return replace(scene, tokens=torch.cat([scene.tokens, more.tokens], 1), cameras=both, memory=memory)

    def render(self, scene: SceneTokens, cameras: Cameras) -> Tensor:
        """Pictures [b, t, 3, h, w] in [0, 1] of scenes [b] seen by `cameras` [b, t]; each view is independent."""
        check_render_cameras(cameras, scene.tokens)
        size = (scene.height, scene.width)
        return self.renderer(cameras, size, *self._codes(size, cameras), self.remember(scene).memory)

    def remember(self, scene: SceneTokens) -> SceneTokens:
        """The scene with its memory, made anew where it was left out to save space.

        Raises:
            InputError: if another model made the scene.
        """
        if scene.cameras is None:
            raise InputError("this scene is not of the tokens of views: another model made it")
        if scene.memory:
            return scene
        tokens = rearrange(scene.tokens, "b (c n) d -> b c n d", c=scene.cameras.shape[1])
        _, across = self._codes((scene.height, scene.width), scene.cameras)
        return replace(scene, memory=self.renderer.transformer.memorize(tokens, across))

    def _codes(self, size: tuple[int, int], cameras: Cameras) -> tuple[ViewCode, ViewCode]:
        """Codes of tokens within a view, and across views seen by `cameras` [b, v]."""
        rows, columns = (pixels // self.config.patch_size for pixels in size)
        within = place_code(rows, columns, self.config.head_width, cameras.intrinsics.device)
        if not self.config.relative_cameras:
            return within, within
        return within, camera_code(rows, columns, self.config.head_width, cameras)

    def _checked(self, images: Tensor, positions: Tensor | None, canonical: int | None) -> tuple[Tensor | None, int]:
        check_images(images, self.config.patch_size)
        views = images.shape[1]
        if positions is not None:
            check_positions(positions, images)
            positions = positions.view(-1, views)
        elif self.config.order_code != "none":
            order = torch.arange(views, device=images.device)[None]
            positions = order if self.config.order_code == "index" else torch.zeros_like(order)
        if canonical is None:
            return positions, canonical_index(views, self.config.canonical)
        check_canonical(canonical, views)
        return positions, canonical


def _where_known(given: Cameras, others: Cameras) -> Cameras:
    """The given cameras of samples [b, v] that have some (finite ones), the others of all other samples."""
    known = given.world_from_camera.flatten(1).isfinite().all(1)
    pose = torch.where(known[:, None, None, None], given.world_from_camera, others.world_from_camera)
    return Cameras(pose, torch.where(known[:, None, None], given.intrinsics, others.intrinsics))
