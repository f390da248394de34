from . import evaluation as evaluation
from . import geometry as geometry
from . import losses as losses
from .errors import InputError as InputError
from .geometry.cameras import Cameras as Cameras
from .view_split import ViewSplit as ViewSplit

__version__: str
