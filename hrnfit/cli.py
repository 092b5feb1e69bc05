"""The command line: `hrnfit fit | convert | demo | cameras | licences | models | nets`, each a dataclass of options.

What goes wrong is said in one sentence, with exit code 2, or 1 when the fault is ours; `--debug` shows
where it happened.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NoReturn

import tyro

import hrnfit
from hrnfit.cli_convert import Convert
from hrnfit.cli_folder import check_folder, save_or_rescue, saving_what_is_done
from hrnfit.cli_licences import Licences

EXPECTED = (ValueError, TypeError, ImportError, OSError, MemoryError)
"""What the library raises for reasons that lie with the input or the machine."""


def shown(metavar: str) -> object:
    """An option as the help shows it: what to give, and no default where there is none."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint="")


@dataclass(frozen=True)
class Fit:
    """Fit one subject to one or several photographs and write meshes, maps and a report."""

    images: tyro.conf.Positional[Annotated[tuple[Path, ...], shown("IMG [IMG ...]")]]
    """Photographs of one person: PNG, JPEG or TIFF."""
    cameras: Annotated[Path | None, shown("FILE")] = None
    """Camera file of a calibrated rig (OpenCV list in JSON); without it the cameras are estimated."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME")] = "generic"
    """Face model: a name that `hrnfit models list` shows, or a file."""
    recipe: Annotated[str | None, shown("NAME")] = None
    """single_view, multi_view, rig, preview, feed_forward or a YAML file; chosen by the input when not given."""
    networks: Annotated[str | None, shown("NAME")] = None
    """Networks to start from: a name that `hrnfit nets list` shows, or a file; those for the model when not given."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("hrnfit_out")
    """Folder of the results."""
    device: Annotated[str, tyro.conf.arg(metavar="auto|cpu|cuda|cuda:N")] = "auto"
    """Where to compute; cuda:1 is the second GPU."""
    max_size: Annotated[int | None, shown("PX")] = None
    """Longest side of the images, px; larger ones are shrunk while reading."""
    landmarks: Annotated[Path | None, shown("FILE")] = None
    """JSON file {image name: [[x, y], ...]} with 68, 478 or 5 points each, instead of the detector."""
    masks: Annotated[Path | None, shown("DIR")] = None
    """Folder of masks named like the images; white where the face may be compared."""
    set: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="KEY=VALUE")
    ] = ()
    """Change one entry of the recipe, such as stages.skin-384.steps=5; may be given several times."""
    commercial: bool = False
    """Refuse models, renderers and detectors whose terms do not permit commercial use; see `hrnfit licences`."""
    quiet: bool = False
    """Show no progress and no summary; warnings still go to standard error."""
    debug: bool = False
    """Show the library's messages, and the whole traceback of an error."""

    def run(self) -> None:
        from hrnfit import cli_progress

        overrides = parse_overrides(self.set)
        if not self.images:
            raise ValueError("images: none given; name at least one photograph")
        check_folder(self.out)
        with cli_progress.bars(quiet=self.quiet) as progress, saving_what_is_done(self.out):
            result = hrnfit.fit(
                list(self.images),
                self.cameras,
                model=self.model,
                recipe=self.recipe,
                networks=self.networks,
                masks=self.masks,
                landmarks=self.landmarks,
                device=self.device,
                max_size=self.max_size,
                overrides=overrides or None,
                progress=progress,
                commercial=self.commercial,
            )
        save_or_rescue(result, self.out)
        if not self.quiet:
            cli_progress.summarise(result, self.out)
            return
        for warning in result.warnings:
            print(f"hrnfit: warning: {warning}", file=sys.stderr)


@dataclass(frozen=True)
class Demo:
    """Fit a public domain photograph, and three views of a synthetic subject with known truth."""

    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("hrnfit_demo")
    """Folder of the results."""
    quiet: bool = False
    """Show no progress bars."""
    debug: bool = False
    """Show the library's messages, and the whole traceback of an error."""

    def run(self) -> None:
        from hrnfit.demo import run_demo

        check_folder(self.out)
        run_demo(self.out, quiet=self.quiet)


@dataclass(frozen=True)
class Cameras:
    """Check a camera file and show what it says, in the units of this library."""

    file: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="FILE")]]
    """Camera file: OpenCV list in JSON."""
    debug: bool = False
    """Show the library's messages, and the whole traceback of an error."""

    def run(self) -> None:
        from hrnfit import cli_progress
        from hrnfit.camera import check_rig_scale

        cameras = hrnfit.load_cameras(self.file)
        cli_progress.show_cameras(cameras)
        check_rig_scale(cameras)


Command = type[Fit] | type[Convert] | type[Demo] | type[Cameras] | type[Licences]

COMMANDS: dict[str, Command] = {
    "fit": Fit,
    "convert": Convert,
    "demo": Demo,
    "cameras": Cameras,
    "licences": Licences,
}

USAGE = f"""hrnfit {hrnfit.__version__}: one subject's face from photographs

  hrnfit fit IMG... [--cameras FILE] [--out DIR]   fit, and write meshes, maps and a report
  hrnfit convert RESULT --to MODEL [--out DIR]     carry a fit over to another model or your template
  hrnfit demo [--out DIR]                          see it work on a photograph and on known truth
  hrnfit cameras FILE                              check a camera file
  hrnfit licences [--all] [--json]                 what is installed, and what may be used commercially
  hrnfit models list | info | kinds | add | get    the face models
  hrnfit models check | landmarks                  whether one is sound; its dense landmarks
  hrnfit nets list | info | add | check | remove   weights of networks that you hold

Options of a command: hrnfit COMMAND --help"""


def parse_overrides(settings: Sequence[str]) -> dict[str, object]:
    """Recipe entries by dotted key, of `key=value` texts; values are read as YAML."""
    import yaml

    overrides: dict[str, object] = {}
    for setting in settings:
        key, sign, value = setting.partition("=")
        if not sign or not key:
            raise ValueError(f"--set: expected key=value, got {setting!r}")
        try:
            overrides[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ValueError(f"--set {key}: {value!r} is not a YAML value") from error
        if isinstance(overrides[key], str):
            with contextlib.suppress(ValueError):
                overrides[key] = float(value)  # YAML 1.1 takes 1e-3 for a text
    return overrides


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; exits with 0, with 2 after an error in the input, with 1 after one of ours, with
    130 when interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(USAGE)
        return
    if given[0] in ("-V", "--version"):
        print(f"hrnfit {hrnfit.__version__}")
        return
    command, rest = given[0], given[1:]
    if command == "models":
        from hrnfit import cli_models

        guarded(lambda: cli_models.main(rest), debug="--debug" in rest)
    elif command == "nets":
        from hrnfit import cli_nets

        guarded(lambda: cli_nets.main(rest), debug="--debug" in rest)
    elif command in COMMANDS:
        parsed = tyro.cli(
            COMMANDS[command],
            prog=f"hrnfit {command}",
            args=rest,
            config=(tyro.conf.FlagCreatePairsOff,),
        )
        guarded(parsed.run, debug=parsed.debug)
    else:
        known = ", ".join([*COMMANDS, "models", "nets"])
        fail(f"no command {command!r}; commands: {known} (a photograph? hrnfit fit {command})")


def guarded(run: Callable[[], object], *, debug: bool) -> None:
    """Run, and turn whatever is raised into one sentence and an exit code."""
    logger = logging.getLogger("hrnfit")
    logger.addHandler(logging.StreamHandler() if debug else logging.NullHandler())
    if debug:
        logger.setLevel(logging.DEBUG)
    try:
        run()
    except EXPECTED as error:
        if debug:
            raise
        fail(sentence(error))
    except KeyboardInterrupt:
        print("interrupted; no result was written", file=sys.stderr)
        raise SystemExit(130) from None
    except Exception as error:
        if debug:
            raise
        if "out of memory" in str(error) or "can't allocate memory" in str(error):  # torch
            fail(sentence(MemoryError()))
        fail(
            f"{type(error).__name__}: {sentence(error)}; this should not happen: please report what "
            "the same command shows with --debug",
            code=1,
        )


def sentence(error: BaseException) -> str:
    """The message of an error on one line, in words also where Python gives only a type."""
    own_words = hasattr(error, "partial")  # of `OutOfMemoryError`; its class would load torch
    if isinstance(error, MemoryError) and not own_words:
        return "out of memory; shrink the images with --max-size, or take fewer"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def fail(message: str, code: int = 2) -> NoReturn:
    """Say what is wrong on standard error and exit."""
    print(f"hrnfit: error: {message}", file=sys.stderr)
    raise SystemExit(code)
