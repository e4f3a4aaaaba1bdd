"""`tunectl evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunectl.cli import choices as c
from tunectl.cli import console
from tunectl.errors import UsageError


def evaluate(
    folders: Annotated[list[Path], typer.Argument(help="Folders of clean pictures: a table each.")],
    level: Annotated[
        str | None, typer.Option(help="Levels to degrade at, such as 15,25,50; a column each.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="A model; may be given several times. Without any, and any --rival: photo.",
            autocompletion=c.complete_model,
        ),
    ] = None,
    rival: Annotated[
        list[str],
        typer.Option(
            help="A network that is not ours: ADAPTER.py:WEIGHTS, or what spandrel loads."
        ),
    ] = [],  # noqa: B006 - typer copies it
    alpha: Annotated[
        str,
        typer.Option(
            "--alpha",
            "-a",
            help="A row each: an alpha; calibrated for the level; auto, told from the picture; "
            "oracle, the best one for all pictures of a level; oracle-each, for each picture.",
        ),
    ] = "calibrated",
    noisy: Annotated[
        Path | None, typer.Option(help="A folder of degraded pictures, to be paired by name.")
    ] = None,
    pairs: Annotated[
        str | None,
        typer.Option(metavar="CLEAN:NOISY", help="How names of pairs end, such as _mean:_real."),
    ] = None,
    gray: Annotated[bool, typer.Option("--gray", help="Measure on gray pictures.")] = False,
    luma: Annotated[
        bool,
        typer.Option("--luma", help="Measure Y of YCbCr, not RGB; with --gray, pictures of Y."),
    ] = False,
    with_ssim: Annotated[bool, typer.Option("--ssim", help="SSIM beside PSNR.")] = False,
    task: Annotated[
        str | None, typer.Option(help="What to measure rivals alone on; models bring their task.")
    ] = None,
    task_field: c.TaskFieldOption = [],  # noqa: B006
    limit: Annotated[int | None, typer.Option(min=1, help="Use so many pictures only.")] = None,
    device: c.DeviceOption = "auto",
    precision: c.PrecisionOption = "auto",
    ensemble: c.EnsembleOption = 1,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON, per picture.")] = False,
    save: Annotated[
        list[Path], typer.Option(help="Write the results per picture: a .json or .csv file.")
    ] = [],  # noqa: B006
    plot: Annotated[
        Path | None, typer.Option(help="Write PSNR by level as curves: a .svg or .png file.")
    ] = None,
) -> None:
    """Measure PSNR and SSIM by level.

    Prints tables of models and rivals on the same pictures and noise. Clean pictures are degraded
    by the first model's task, with seeds that depend on a picture's place in the sorted folder and
    on the level; or degraded ones lie beside them (--noisy, --pairs), and --level is what models
    are told. PSNR is in dB over all RGB samples, outputs are rounded to 8 bits, gray is Matlab's
    rgb2gray. The table is markdown; where pairs are measured at several levels, it ends with the
    best one for all and for each.

    \b
    tunectl evaluate photos -m denoise --level 15,25,50 --alpha calibrated,auto,oracle
    tunectl evaluate photos -m tuned.safetensors --level 15,50 --alpha 0,0.5,1 --plot curves.svg
    tunectl evaluate clean --noisy noisy -m denoise --alpha auto,oracle-each --save results.csv
    """
    from tunectl.atomic import check_new

    if len(set(save)) < len(save):
        raise UsageError("--save names one file twice", "give each a name of its own")
    for path in [*save, *([plot] if plot else [])]:
        check_new(path)
    for path in save:
        if path.suffix.lower() not in (".csv", ".json"):
            raise UsageError(f"{path}: is neither CSV nor JSON", "end its name with .csv or .json")
    if plot is not None and plot.suffix.lower() not in (".svg", ".png"):
        raise UsageError(f"{plot}: is neither SVG nor PNG", "end its name with .svg or .png")
    levels = c.parse_numbers(level, "--level") if level is not None else []
    paired = noisy is not None or pairs is not None
    if noisy is not None and len(folders) > 1:
        raise UsageError("--noisy is the other half of one folder", "name one folder of clean ones")
    if not paired and not levels:
        raise UsageError("clean pictures have to be degraded", "give --level, or --noisy FOLDER")
    if plot is not None and len(levels) < 2:
        raise UsageError("a curve needs two levels", "give --level several, such as 15,25,50")
    from tunectl.evaluation import run, table
    from tunectl.evaluation.cases import parse_pairs
    from tunectl.fields import parse_fields

    endings = parse_pairs(pairs) if pairs is not None else None
    job, tables = run.evaluate(
        run.Pictures(folders, levels, noisy, endings, gray, luma, limit),
        model if model is not None else ([] if rival else [c.DEFAULT_MODEL]),
        [word.strip() for word in alpha.split(",")],
        rival,
        parse_fields(task_field, "--task-field"),
        task,
        with_ssim=with_ssim,
        device=device,
        precision=precision,
        ensemble=ensemble,
        say=console.say,
    )
    text = table.as_json(tables) if json_output else "\n\n".join(map(table.markdown, tables))
    try:  # first: the output may go nowhere by now
        for path in save:
            table.write_file(path, tables)
        if plot is not None:
            table.write_plot(plot, tables, job.symbol)
    finally:
        console.emit_text(text)
