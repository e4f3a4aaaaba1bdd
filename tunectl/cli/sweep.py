"""`tunectl sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunectl.cli import choices as c
from tunectl.cli import console
from tunectl.errors import UsageError


def sweep(
    photo: Annotated[Path, typer.Argument(help="The picture to look at.")],
    output: Annotated[
        list[Path],
        typer.Option(
            "--output",
            "-o",
            help=".html: a page with a slider; .png or .jpg: a contact sheet; .webp, .gif or "
            ".apng: an animation. May be given several times.",
        ),
    ],
    model: Annotated[
        list[str],
        typer.Option(
            "--model",
            "-m",
            help="A model with a knob; may be given several times.",
            autocompletion=c.complete_model,
        ),
    ] = [c.DEFAULT_MODEL],  # noqa: B006 - typer copies it
    alpha: Annotated[
        str, typer.Option("--alpha", "-a", help="Which alphas, such as 0,0.5,1.")
    ] = "0,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1",
    clean: Annotated[
        Path | None, typer.Option(help="The photo without noise: PSNR is measured to it.")
    ] = None,
    crop: Annotated[
        list[str],
        typer.Option(
            metavar="LEFT,TOP,RIGHT,BOTTOM",
            help="A part to show pixel by pixel; may be given several times. A page of a large "
            "photo chooses six without it.",
        ),
    ] = [],  # noqa: B006
    style: Annotated[
        list[Path], typer.Option(help="A picture whose style to take, for models that take any.")
    ] = [],  # noqa: B006
    keep_colours: Annotated[
        bool, typer.Option("--keep-colours", help="Take only the result's luma.")
    ] = False,
    device: c.DeviceOption = "auto",
    precision: c.PrecisionOption = "auto",
) -> None:
    """See a photo along the knob.

    The result is a page with a slider, a contact sheet or an animation. The page is one file that
    needs no network: drag the slider, wipe between before and after, zoom to 100 % and copy the
    command line for the alpha that looks best.

    \b
    tunectl sweep noisy.png -o noisy.html
    tunectl sweep noisy.png -o sheet.png -o moving.webp --alpha 0,0.25,0.5,0.75,1
    tunectl sweep photo.jpg -m starry-night -o style.html
    """
    alphas = sorted(set(c.parse_numbers(alpha, "--alpha")))
    if len(alphas) < 2:
        raise UsageError("a sweep needs two alphas", "give --alpha several, such as 0,0.5,1")
    boxes = [_box(text) for text in crop]
    from tunectl.sweep.run import run

    run(
        photo,
        model,
        output,
        alphas,
        clean,
        boxes,
        style,
        keep_colours,
        device,
        precision,
        say=console.say,
    )
    for path in output:
        console.emit(str(path))


def _box(text: str) -> tuple[int, int, int, int]:
    try:
        left, top, right, bottom = (int(word) for word in text.split(","))
    except ValueError as error:
        raise UsageError(
            f"--crop {text!r} is not four numbers", "give LEFT,TOP,RIGHT,BOTTOM in pixels"
        ) from error
    return left, top, right, bottom
