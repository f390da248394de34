"""RayZer: cameras, a latent scene and new views from unposed photos, trained on images alone.

The public names and where they live are listed in `__init__.pyi`; each is imported when first used.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
