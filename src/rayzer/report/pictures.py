"""Pictures beside a page: which are there, and thumbnails that a page carries itself."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image

from rayzer.files import is_file

THUMBNAIL_PX = 72
WEBP_QUALITY = 60


class PictureFolder:
    """The files beside a page. Those that are asked for and absent or unreadable are remembered in `missing`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.missing: dict[str, None] = {}

    def present(self, path: str | None) -> str | None:
        """The path if there is such a file."""
        if path is None or is_file(self.folder / path):
            return path
        self.missing[path] = None
        return None

    def thumbnail(self, path: str | None) -> str | None:
        """The picture as a `data:` URI, at most 72 pixels long; None if it is missing or cannot be read."""
        if self.present(path) is None or path is None:
            return None
        try:
            with Image.open(self.folder / path) as picture:
                picture.draft("RGB", (THUMBNAIL_PX, THUMBNAIL_PX))
                small = picture.convert("RGB")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            self.missing[path] = None
            return None
        small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
        coded = io.BytesIO()
        small.save(coded, "webp", quality=WEBP_QUALITY)
        return "data:image/webp;base64," + base64.b64encode(coded.getvalue()).decode()
