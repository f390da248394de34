from . import evaluation as evaluation
from . import geometry as geometry
from . import losses as losses
from .data.views import Views as Views
from .data.views import load_images as load_images
from .data.views import load_views as load_views
from .errors import InputError as InputError
from .geometry.cameras import Cameras as Cameras
from .model.lvsm import LVSM as LVSM
from .model.lvsm import LVSMConfig as LVSMConfig
from .model.rayzer import Prediction as Prediction
from .model.rayzer import RayZer as RayZer
from .model.rayzer import RayZerConfig as RayZerConfig
from .model.weights import load_model as load_model
from .model.weights import push_model as push_model
from .model.weights import save_model as save_model
from .view_split import ViewSplit as ViewSplit

__version__: str
