"""`napari-shaspec convert`: a checkpoint of the authors' released code becomes safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_shaspec.cli.options import Overwrite
from napari_shaspec.io.atomic import check_output


def convert(
    source: Annotated[Path, typer.Argument(metavar="FINAL.PTH", help="What the released training code has written.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.SAFETENSORS", help="The file to write.")],
    overwrite: Overwrite = False,
) -> None:
    """Turn a checkpoint of the released code into safetensors: smaller, and free of pickled code."""
    from napari_shaspec.model.checkpoint import convert_checkpoint

    check_output(out, (".safetensors",), overwrite=overwrite)
    convert_checkpoint(source, out, overwrite=overwrite)
    typer.echo(f"Wrote {out}")
