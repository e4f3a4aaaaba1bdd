"""`tunectl apply`."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunectl.cli import choices as c
from tunectl.cli import console
from tunectl.cli.outcomes import Teller, errors_as_json, print_plan, setup_of
from tunectl.cli.strength import check_strengths, parse_strengths, read_map
from tunectl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunectl.inference.job import Tally
    from tunectl.inference.model import Model


def apply(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="IN...", help="Pictures or folders; - is standard input."),
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help="A bundled or own model by name, or a file.",
            autocompletion=c.complete_model,
        ),
    ] = c.DEFAULT_MODEL,
    alpha: Annotated[
        str | None,
        typer.Option(
            "--alpha",
            "-a",
            help="0 (gentlest) to 1 (strongest), auto, or a list: 0,0.5,auto. Auto, the default "
            "but for --alpha-map, takes the level from the picture, auto*0.8 a part of that; a "
            "style is then applied whole. A model with two ends goes down to -1; Dynamic-Net's "
            "takes an alpha for each of its blocks: 0.3/0.5/0.",
        ),
    ] = None,
    level: Annotated[
        str | None,
        typer.Option(help="Instead of alpha, in the task's unit (noise sigma, JPEG quality)."),
    ] = None,
    chroma_alpha: Annotated[
        float | None, typer.Option(help="An alpha of its own for colour, where alpha is for luma.")
    ] = None,
    alpha_map: Annotated[
        Path | None,
        typer.Option(
            help="A gray picture as large as the input is shown: alpha per pixel, white being 1, "
            "or --alpha (also auto) or --level where one is given."
        ),
    ] = None,
    blend: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of the result in a mix with the input."),
    ] = 1.0,
    keep_colours: Annotated[
        bool,
        typer.Option(
            "--keep-colours", help="Take only the result's luma: a style, in the photo's colours."
        ),
    ] = False,
    style: Annotated[
        list[Path],
        typer.Option(
            help="A picture whose style to take, for models that take any, instead of the one they "
            "came with; repeatable."
        ),
    ] = [],  # noqa: B006 - typer copies it
    style_shares: Annotated[
        str | None, typer.Option(help="How much each --style counts, such as 2,1.")
    ] = None,
    extrapolate: Annotated[
        bool, typer.Option("--extrapolate", help="Allow alpha outside 0 to 1.")
    ] = False,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="A file for one result (a name with an ending), - for standard output, else a "
            "folder (end it / if its name has a dot). Without it a result is NAME_out beside its "
            "input, or NAME_alpha0.3; folders need it, --suffix or --in-place.",
        ),
    ] = None,
    suffix: Annotated[
        str, typer.Option(help="Put before the ending of every result, such as _clean.")
    ] = "",
    ending: Annotated[
        str | None,
        typer.Option(
            "--format", help="png, jpg, tif, webp ...; otherwise as each input's name ends, or png."
        ),
    ] = None,
    quality: Annotated[
        str,
        typer.Option(
            help="auto (95, or a JPEG's own if finer; WebP and JPEG XL are lossless), keep (a "
            "JPEG's own; lossless formats stay so), or 1 to 100."
        ),
    ] = "auto",
    strip_metadata: Annotated[
        bool,
        typer.Option(
            "--strip-metadata",
            help="Leave out EXIF, XMP, IPTC, comments and density; colours and orientation stay.",
        ),
    ] = False,
    in_place: Annotated[
        bool,
        typer.Option(
            "--in-place",
            help="Write over the inputs, each in one step and without a copy; with --manifest a "
            "model does so once, without one each time.",
        ),
    ] = False,
    if_exists: Annotated[str, typer.Option(help="error, skip, overwrite or rename.")] = "error",
    manifest: Annotated[
        Path | None,
        typer.Option(
            help="Keep a journal in this file (JSON Lines), and do only what is missing from it "
            "or has changed since, which replaces older results unless --if-exists is skip."
        ),
    ] = None,
    exclude: Annotated[
        list[str],
        typer.Option(help="Leave out pictures of folders by their name, such as '*_old.*'."),
    ] = [],  # noqa: B006 - typer copies it
    shard: Annotated[
        str | None,
        typer.Option(help="Only part i of n, such as 3/8, of the pictures: for job arrays."),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(help="local, or ray: on the cluster that RAY_ADDRESS names, or on all cores."),
    ] = "local",
    workers: Annotated[
        int | None, typer.Option(min=1, help="With --engine ray: how many processes.")
    ] = None,
    frame: Annotated[
        int | None,
        typer.Option(min=0, help="Which frame of an animation, or page of a TIFF; the first is 0."),
    ] = None,
    max_pixels: Annotated[
        int | None, typer.Option(min=1, help="Refuse pictures with more pixels.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Print what would be done, and do nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a result to stdout.")
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Tell only of failures; results still go to stdout."),
    ] = False,
    device: c.DeviceOption = "auto",
    precision: c.PrecisionOption = "auto",
    ensemble: c.EnsembleOption = 1,
    tile: Annotated[
        int | None,
        typer.Option(
            min=1, help="Largest side, in pixels, that runs at once; else as the memory allows."
        ),
    ] = None,
) -> None:
    """Restore pictures at any strength.

    Profile, tags, opacity and orientation of a picture are kept; gray stays gray. Paths of results
    go to stdout; what strength each was restored at goes to stderr. Exit code 1 means that some
    pictures failed and the rest are done.

    \b
    tunectl apply noisy.png
    tunectl apply --alpha 0.3 noisy.png -o better.png
    tunectl apply photos -m denoise --level 15 -o clean --manifest clean/done.jsonl
    tunectl apply - -o - --format png < noisy.jpg > clean.png
    """
    with errors_as_json(as_json and output != "-"):
        from tunectl.hashing import file_sha256
        from tunectl.inference.find import find_model
        from tunectl.inference.job import PIPE
        from tunectl.inference.manifest import Manifest
        from tunectl.inference.plan import Layout, unread
        from tunectl.inference.settle import decide
        from tunectl.inference.shard import Shard

        if PIPE in inputs or output == PIPE:
            _check_pipes(PIPE in inputs, output == PIPE, as_json, manifest)
        if style_shares and not style:
            raise UsageError("--style-shares has no --style to share out", "give --style as well")
        if in_place and frame is not None:
            raise UsageError("--in-place and --frame would lose frames", "write elsewhere with -o")
        _check_engine(engine, workers, PIPE in (*inputs, output))
        find_model(model)
        for path in [*style, *([alpha_map] if alpha_map else [])]:
            if not path.is_file():
                raise UsageError(f"{path}: there is no such file", "check its name")
        asked = parse_strengths(alpha, level, extrapolate, alpha_map is not None)
        fineness = _quality(quality)
        part = Shard.parse(shard) if shard is not None else None
        left = unread(inputs)
        if left and not quiet:
            console.say(f"left alone: {left}")
        settings = {
            "precision": precision,
            "ensemble": ensemble,
            "chroma_alpha": chroma_alpha,
            "alpha_map": alpha_map and file_sha256(alpha_map),
            "blend": blend,
            "keep_colours": keep_colours,
            "styles": [file_sha256(path) for path in style],
            "style_shares": style_shares,
            "frame": frame,
            "quality": fineness,
            "strip_metadata": strip_metadata,
        }
        setup = setup_of(model, settings, hashed=bool(manifest) or (as_json and not dry_run))
        journal = Manifest(manifest, setup) if manifest else None
        if journal and journal.results and not quiet:
            console.say(f"{manifest}: comparing with {journal.results} results")
        form = f".{ending.removeprefix('.')}" if ending else ""
        layout = Layout(output, suffix, form, in_place, tuple(exclude))
        say = (lambda words: None) if quiet else console.say
        jobs = decide(inputs, asked, layout, if_exists, journal, part, say)
        if part and not jobs and not quiet:
            console.say(f"--shard {shard} has no picture")
        if dry_run:
            print_plan(jobs, setup, as_json)
            return
        record = journal.journal.append if journal else lambda outcome: None
        if all(job.skip for job in jobs):
            with Teller(jobs, setup, quiet, as_json) as teller:
                teller.end(teller.skip_all(record))
            return
        from tunectl.inference import batch
        from tunectl.inference.load import load
        from tunectl.inference.strength import Strength

        loaded = load(model, device=device, precision=precision, tile=tile, ensemble=ensemble)
        if style:
            _set_styles(loaded, style, style_shares)
        strength = Strength(
            chroma_alpha=chroma_alpha,
            alpha_map=read_map(alpha_map) if alpha_map else None,
            blend=blend,
            keep_colours=keep_colours,
            extrapolate=extrapolate,
        )
        strengths = check_strengths(loaded, model, (job.asked for job in jobs), strength)
        stdin = sys.stdin.buffer.read() if PIPE in inputs else b""
        files = batch.Files(frame, max_pixels, fineness, strip_metadata, stdin)
        run = batch.run if engine == "local" else _on_cluster(device, precision, workers)
    with console.stoppable() as check, Teller(jobs, setup, quiet, as_json) as teller:
        batch.remove_leftovers(jobs)
        tally = run(loaded, jobs, strengths, files, teller.done, record, check)
        teller.end(tally)
    if tally.failed:
        sys.exit(1)


def _set_styles(model: Model, pictures: list[Path], shares: str | None) -> None:
    from tunectl.inference.styles import set_styles

    set_styles(model, pictures, c.parse_numbers(shares, "--style-shares") if shares else [])


def _on_cluster(device: str, precision: str, workers: int | None) -> Callable[..., Tally]:
    from tunectl.inference import cluster

    return functools.partial(cluster.run, device=device, precision=precision, workers=workers)


def _check_engine(engine: str, workers: int | None, pipes: bool) -> None:
    if engine not in ("local", "ray"):
        raise UsageError(f"--engine {engine!r} is not known", "give local or ray")
    if engine == "ray" and pipes:
        raise UsageError("--engine ray works on files, not on -", "name files, or leave it away")
    if workers is not None and engine != "ray":
        raise UsageError("--workers goes with --engine ray", "leave it away")


def _check_pipes(reads: bool, writes: bool, as_json: bool, manifest: Path | None) -> None:
    if manifest:
        raise UsageError("--manifest goes with files, not with -", "leave it away")
    if writes and as_json:
        raise UsageError("-o - and --json both want standard output", "leave one of the two away")
    if reads and sys.stdin.isatty():
        raise UsageError("standard input is a terminal", "redirect a picture into it with <")
    if writes and sys.stdout.isatty():
        raise UsageError("standard output is a terminal", "redirect it with > or name a file")


def _quality(text: str) -> str | int:
    if text in ("auto", "keep"):
        return text
    if text.isdecimal() and 1 <= int(text) <= 100:
        return int(text)
    raise UsageError(f"--quality {text!r} is not known", "give auto, keep, or 1 to 100")
