"""A model from a file: the Python API."""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from tunectl import checkpoint
from tunectl.checkpoint import Header
from tunectl.device import pick_device, pick_precision
from tunectl.errors import AlphaError, CheckpointError, IncompatibleError, UsageError
from tunectl.inference.engine import DEFAULT_TILE, Engine
from tunectl.knob import Knob
from tunectl.networks import Network, build_network
from tunectl.tuners import Tunable, build_tuner, check_alpha, insert_sites

Picture = TypeVar("Picture", Tensor, Image.Image, NDArray[np.generic])
ENDING = ".safetensors"
KEPT_FOLDS = 4


class Model:
    """Network, tuner and calibration from one file, ready to run."""

    def __init__(
        self,
        header: Header,
        network: Network | Tunable,
        device: torch.device,
        precision: torch.dtype,
        tile: int = DEFAULT_TILE,
    ) -> None:
        self.header = header
        self.network = network.eval().requires_grad_(False)
        self.device, self.precision, self.tile = device, precision, tile
        self._engines: OrderedDict[float | None, Engine] = OrderedDict()

    @property
    def tunable(self) -> bool:
        """Whether the model has a knob."""
        return isinstance(self.network, Tunable)

    def level(self, alpha: float) -> float:
        """The level, in the task's unit, at which `alpha` was measured to be best."""
        return self._knob().level(check_alpha(alpha))

    def alpha(self, level: float) -> float:
        """The alpha measured to be best at `level`. Raises AlphaError outside the knob's range."""
        return self._knob().alpha(level)

    def fold(self, alpha: float | None = None, *, extrapolate: bool = False) -> Network:
        """The plain network at `alpha`, at a plain network's price; of a plain model, itself."""
        if not isinstance(self.network, Tunable):
            if alpha is not None:
                raise AlphaError("this model is plain: it has no alpha", "leave --alpha away")
            return self.network
        if alpha is None:
            raise AlphaError("this model has a knob", "give --alpha 0 to 1, or --level")
        return self.network.fold(check_alpha(alpha, extrapolate))

    def __call__(
        self,
        picture: Picture,
        alpha: float | None = None,
        level: float | None = None,
        *,
        extrapolate: bool = False,
    ) -> Picture:
        """Restore a picture at one alpha, or at the alpha calibrated for `level`.

        Takes and returns the same kind: a tensor (N, C, H, W) or (C, H, W) in [0, 1]; an array
        (H, W), (H, W, 1) or (H, W, 3), uint8, uint16 or floating in [0, 1]; a PIL picture of mode
        L, LA, RGB or RGBA, whose opacity is kept. C is 3, or 1 for gray, which stays gray. The
        result is clamped to the range. Raises AlphaError where alpha or level is missing, given
        twice or outside the knob, UsageError for another kind of picture.
        """
        if level is not None:
            if alpha is not None:
                raise AlphaError("alpha and level are both given", "give one of the two")
            alpha = self.alpha(level)
        if isinstance(picture, Tensor):
            batch = picture[None] if picture.ndim == 3 else picture
            restored = self._run(batch.float(), alpha, extrapolate).clamp(0, 1)
            restored = restored.to(picture.device, picture.dtype)
            return restored[0] if picture.ndim == 3 else restored
        if isinstance(picture, Image.Image):
            return self._run_image(picture, alpha, extrapolate)
        if isinstance(picture, np.ndarray):
            return self._run_array(picture, alpha, extrapolate)
        raise UsageError(
            f"a {type(picture).__name__} is not a picture",
            "give a tensor, an array or a PIL picture",
        )

    def _knob(self) -> Knob:
        if not self.tunable or self.header.knob is None:
            raise AlphaError("this model is plain: it has no alpha", "leave --alpha away")
        return self.header.knob

    def _run(self, batch: Tensor, alpha: float | None, extrapolate: bool) -> Tensor:
        if alpha not in self._engines:
            network = self.fold(alpha, extrapolate=extrapolate)
            self._engines[alpha] = Engine(network, self.device, self.precision, self.tile)
            if len(self._engines) > KEPT_FOLDS:
                self._engines.popitem(last=False)
        self._engines.move_to_end(alpha)
        return self._engines[alpha](batch)

    def _run_array(
        self, array: NDArray[np.generic], alpha: float | None, extrapolate: bool
    ) -> NDArray[np.generic]:
        planes = array[..., None] if array.ndim == 2 else array
        if planes.ndim != 3 or planes.shape[2] not in (1, 3):
            raise UsageError(
                f"an array of shape {array.shape} is not a picture", "give (H, W) or (H, W, 3)"
            )
        peaks = {"uint8": 255.0, "uint16": 65535.0}
        whole = np.issubdtype(array.dtype, np.integer)
        if whole and array.dtype.name not in peaks:
            raise UsageError(f"samples of type {array.dtype} are not known", "give uint8 or floats")
        peak = peaks.get(array.dtype.name, 1.0)
        x = torch.from_numpy(planes.astype(np.float32) / np.float32(peak)).permute(2, 0, 1)[None]
        y = self._run(x, alpha, extrapolate)[0].permute(1, 2, 0).clamp(0, 1).mul(peak).numpy()
        return (np.rint(y) if whole else y).astype(array.dtype).reshape(array.shape)

    def _run_image(self, image: Image.Image, alpha: float | None, extrapolate: bool) -> Image.Image:
        if image.mode not in ("L", "LA", "RGB", "RGBA"):
            raise UsageError(
                f"a PIL picture of mode {image.mode} is not restored as it is",
                "convert it to L, LA, RGB or RGBA",
            )
        array = np.asarray(image)
        if image.mode in ("L", "RGB"):
            return Image.fromarray(self._run_array(array, alpha, extrapolate))
        colour = self._run_array(array[..., :-1], alpha, extrapolate)
        return Image.fromarray(np.concatenate([colour, array[..., -1:]], axis=2))


def load(
    name: str | Path,
    *,
    device: str = "auto",
    precision: str = "auto",
    tile: int = DEFAULT_TILE,
) -> Model:
    """Load a model by path, or by name: from the user's folder, else one that is bundled.

    `device` is auto, cpu, cuda or cuda:N; `precision` auto, fp32 or bf16; `tile` the side of the
    largest window that runs at once. Raises CheckpointError if there is no such model or its file
    is refused.
    """
    return from_tensors(*checkpoint.read(find_model(name)), device, precision, tile)


def from_tensors(
    header: Header,
    tensors: dict[str, Tensor],
    device: str = "auto",
    precision: str = "auto",
    tile: int = DEFAULT_TILE,
) -> Model:
    """Build the model that a file's header describes and give it the file's tensors."""
    place = pick_device(device)
    network = build_network(header.network.name, header.network.fields)
    module: Network | Tunable = network
    try:
        if header.tuner is None:
            network.load_state_dict(checkpoint.under("network.", tensors))
        else:
            assert header.knob is not None
            part, knots = header.tuner, header.knob.knots
            if header.plain:  # what the tuner inserted has become part of the network
                insert_sites(part.name, network, part.fields, knots)
                network.load_state_dict(checkpoint.under("network.", tensors))
            else:
                network.load_state_dict(checkpoint.under("network.", tensors))
                tuner = build_tuner(part.name, network, part.fields, knots)
                tuner.load_state_dict(checkpoint.under("tuner.", tensors))
                module = Tunable(network, tuner)
    except RuntimeError as error:
        raise IncompatibleError(
            f"its tensors do not fit a {header.network.name}", "train or download it again"
        ) from error
    module.to(place)
    return Model(header, module, place, pick_precision(place, precision), tile)


def find_model(name: str | Path) -> Path:
    """The file of a model. Raises CheckpointError, listing what there is."""
    path = Path(name)
    if path.suffix == ENDING or len(path.parts) > 1:
        if not path.is_file():
            raise CheckpointError(f"{path}: there is no such file", "check the path of the model")
        return path
    for folder in model_folders():
        candidate = folder / f"{name}{ENDING}"
        if candidate.is_file():
            return candidate
    known = sorted({p.stem for folder in model_folders() for p in folder.glob(f"*{ENDING}")})
    raise CheckpointError(f"no model is called {name!r}", f"known: {', '.join(known) or 'none'}")


def model_folders() -> list[Path]:
    """Where names are looked up, in order: the user's folder, then what came with tunectl."""
    from platformdirs import user_data_path

    home = os.environ.get("TUNECTL_HOME")
    user = Path(home) if home else user_data_path("tunectl")
    package = Path(__file__).parents[1]
    # In a wheel the weights lie inside the package, in a checkout beside it.
    return [user, package / "weights", package.parent / "weights"]
