"""From a photo and names of models to files: what `sweep` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tunectl.atomic import check_new
from tunectl.errors import UsageError
from tunectl.images import read_picture
from tunectl.images.screen import for_screen
from tunectl.inference.load import load
from tunectl.inference.model import Model
from tunectl.inference.styles import set_styles
from tunectl.knob import check_one
from tunectl.sweep.frames import sweep
from tunectl.sweep.page import LIMIT, page
from tunectl.sweep.stills import MOVING, animation, contact_sheet
from tunectl.sweep.views import part, parts, whole

ENDINGS = (".html", ".png", ".jpg", ".jpeg", *MOVING)


def run(
    photo: Path,
    models: Sequence[str],
    outputs: Sequence[Path],
    alphas: Sequence[float],
    clean: Path | None = None,
    boxes: Sequence[tuple[int, int, int, int]] = (),
    styles: Sequence[Path] = (),
    keep_colours: bool = False,
    device: str = "auto",
    precision: str = "auto",
    say: Callable[[str], None] = lambda _line: None,
) -> None:
    """Write the photo along `alphas`, by each model, to each of `outputs`, as its ending says.

    `boxes` (left, top, right, bottom) are parts to show pixel by pixel; a sheet or an animation
    shows the first. Raises UsageError for an ending or a part that cannot be.
    """
    if len(set(outputs)) < len(outputs):
        raise UsageError("-o names one file twice", "give each a name of its own")
    for path in outputs:
        if path.suffix.lower() not in ENDINGS:
            raise UsageError(f"{path}: a sweep is not written so", f"end it {', '.join(ENDINGS)}")
        check_new(path)
    picture = read_picture(photo)
    shown = for_screen(picture)
    target = None if clean is None else for_screen(read_picture(clean))
    with_page = any(path.suffix.lower() == ".html" for path in outputs)
    chosen = [part(shown, box) for box in boxes] or (parts(shown) if with_page else [])
    views = [whole(shown), *chosen]
    words = [word for path in styles for word in ("--style", str(path))]
    words += ["--keep-colours"] if keep_colours else []
    if target is not None and target.size != shown.size:
        sizes = " and ".join(f"{w} x {h}" for w, h in (target.size, shown.size))
        raise UsageError(
            f"the clean picture and the photo differ in size: {sizes}",
            "give --clean the same photo without noise",
        )
    loaded = [(name, _ready(name, alphas, styles, device, precision)) for name in models]
    strips = []
    for name, model in loaded:
        done = 0

        def count(name: str = name) -> None:
            nonlocal done
            done += 1
            say(f"{name}: {done} of {len(alphas)}")

        strips.append(
            sweep(name, model, picture, alphas, views, target, keep_colours, words, count)
        )
    source = [view.cut(shown) for view in views]
    for path in outputs:
        if path.suffix.lower() == ".html":
            size = page(path, str(photo), views, source, strips, alphas[len(alphas) // 2])
            if size > LIMIT:
                say(f"{path}: has {size / 1e6:.0f} MB; fewer --alpha or --crop make it less")
        elif path.suffix.lower() in MOVING:
            animation(path, strips, int(bool(boxes)))
        else:
            contact_sheet(path, source, strips, int(bool(boxes)))


def _ready(
    name: str, alphas: Sequence[float], styles: Sequence[Path], device: str, precision: str
) -> Model:
    """A model that the photo can be swept through. Raises UsageError or AlphaError for others."""
    model = load(name, device=device, precision=precision)
    if model.scale > 1:
        raise UsageError(f"{name}: enlarges pictures", "name models that keep their size")
    if not model.tunable:
        raise UsageError(f"{name}: is a plain model without a knob", "name one that has a knob")
    for alpha in alphas:
        check_one(alpha, lowest=model.knob.lowest)
    if styles:
        set_styles(model, styles)
    return model
