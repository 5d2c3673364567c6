"""A case and a network: pay for encoding each modality once, then ask for any subset.

`Session.stream` is the one road from images to probabilities; viewer, command line and evaluation all iterate it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import TypeVar

import numpy as np
from torch import Tensor

from napari_shaspec.box import Box
from napari_shaspec.errors import ShaSpecError
from napari_shaspec.inference.cache import FeatureCache
from napari_shaspec.inference.canvas import Canvas, TileResult
from napari_shaspec.inference.engine import Engine, OutOfMemoryError, engine_that_fits
from napari_shaspec.inference.grid import WorkingGrid
from napari_shaspec.inference.prediction import Prediction
from napari_shaspec.inference.preprocess import PreparedImage, cut
from napari_shaspec.inference.procedure import SHORTEST_TILE, procedure_for
from napari_shaspec.inference.tiling import most_wanted_first
from napari_shaspec.modalities import Modality, subset_name
from napari_shaspec.model.networks import Network, NetworkConfig
from napari_shaspec.model.shaspec import Encoding
from napari_shaspec.regions import Region
from napari_shaspec.volume import Case

Computed = TypeVar("Computed")


class Session:
    """Predictions of one case by one network.

    Parameters
    ----------
    model
        A network whose modalities include those of the case.
    case
        The images.
    device
        ``auto``, ``cuda``, ``mps`` or ``cpu``.
    precision
        ``auto`` or ``float32``.
    cache_bytes
        Memory for encodings; a small budget costs time, never results. By default what a case of the usual size needs:
        2 GiB, and 4 GiB for networks of the released code.
    engine
        Instead of the torch engine on ``device``.
    """

    def __init__(
        self,
        model: Network,
        case: Case,
        *,
        device: str = "auto",
        precision: str = "auto",
        cache_bytes: int | None = None,
        engine: Engine | None = None,
    ) -> None:
        self.case = case
        self._engine: Engine
        self._engine, full = (engine, ()) if engine is not None else engine_that_fits(model, device, precision)
        config = self._engine.config
        unknown = sorted(set(case.available) - set(config.modalities))
        if unknown:
            raise ShaSpecError(
                f"modalities that the network knows ({', '.join(config.modalities)})",
                ", ".join(unknown),
                "Leave them out of the case, or choose another checkpoint",
            )
        if config.outputs != tuple(Region) or config.spatial_dims != 3 or config.in_channels != 1:
            raise ShaSpecError(
                f"a 3-D network of one channel that gives {', '.join(Region)}",
                f"{config.spatial_dims}-D, {config.in_channels} channels, {', '.join(config.outputs)}",
                "Choose another checkpoint",
            )
        self._procedure = procedure_for(config)
        self.notes = (*full, *self._procedure.notes(case.grid))
        self.coarse_grid, self.fine_grid = self._procedure.grids(case.grid)
        self._cache: FeatureCache[Encoding] = FeatureCache(
            self._procedure.cache_bytes if cache_bytes is None else cache_bytes
        )
        self._prepared: dict[Modality, dict[float, PreparedImage]] = {}
        self._longest = self._longest_tiles()

    def stream(
        self, available: Collection[Modality] | None = None, viewport: Box | None = None
    ) -> Iterator[TileResult]:
        """Yield the answer piece by piece: the whole brain coarsely, then fine tiles, tumour and viewport first.

        Where a piece of tumour turns out to be sure nowhere, one more result takes it back after the last tile, with
        that tile's count. Painting every result over what was there before gives, at the end, exactly `predict`. Close
        the generator to cancel; what was encoded until then stays in the cache. When the device runs out of memory the
        tiles are halved, then the CPU takes over, and the stream begins again; `notes` says so.

        Parameters
        ----------
        available
            A non-empty subset of the case's modalities; all of them by default.
        viewport
            What the user sees: a box of the source grid, in file order.

        Raises
        ------
        ShaSpecError
            For an empty set, a modality that the case lacks, or a machine without memory for the smallest tile.
        """
        chosen = self._chosen(available)
        while True:
            try:
                yield from self._passes(chosen, viewport)
            except OutOfMemoryError as error:
                self._fall_back(error)
            else:
                return

    def predict(
        self, available: Collection[Modality] | None = None, progress: Callable[[TileResult], object] | None = None
    ) -> Prediction:
        """Drain `stream`.

        Parameters
        ----------
        progress
            Called with each result.
        """
        channels = len(self._engine.config.outputs)
        probabilities = np.zeros((channels, *self.case.grid.shape), np.float32)
        for result in self.stream(available):
            probabilities[(slice(None), *result.box.slices)] = result.probabilities
            if progress is not None:
                progress(result)
        return Prediction(probabilities, self.case.grid, self._chosen(available))

    def within_memory(self, compute: Callable[[], Computed]) -> Computed:
        """Call a function that asks for encodings or maps; again, with less at a time, whenever the device is full.

        `tiles` may be others each time, and `notes` says what was done.

        Raises
        ------
        ShaSpecError
            On a machine without memory for the smallest tile.
        """
        while True:
            try:
                return compute()
            except OutOfMemoryError as error:
                self._fall_back(error)

    def encoding(self, modality: Modality, grid: WorkingGrid, box: Box) -> Encoding:
        """The modality's features over a box of `coarse_grid` or `fine_grid`, from the cache where they are kept."""

        def make() -> Encoding:
            return self._engine.encode(cut(self._image(modality, grid).image, box), modality)

        return self._cache.get_or((modality, grid.spacing_mm, box), make)

    def specific_maps(self, modality: Modality, grid: WorkingGrid, box: Box) -> tuple[Tensor, ...]:
        """Every level (C, *size / 2**l) of the specific encoder, computed afresh: `decode` needs only the last."""
        return self._engine.specific_maps(cut(self._image(modality, grid).image, box), modality)

    def fused(self, available: Collection[Modality], grid: WorkingGrid, box: Box) -> dict[str, Tensor]:
        """The map (C, *bottom) that the decoder gets for every modality the network knows, stand-ins included."""
        return self._engine.fused({modality: self.encoding(modality, grid, box) for modality in sorted(available)})

    def tiles(self, available: Collection[Modality], grid: WorkingGrid) -> list[Box]:
        """The tiles of `coarse_grid` or `fine_grid` that `stream` goes through for these modalities."""
        return self._tiles(self.field(self._chosen(available), grid), grid)

    def brain(self, modality: Modality, grid: WorkingGrid, box: Box) -> Tensor:
        """Where the modality's image is not background, (X, Y, Z) of a box."""
        return cut(self._image(modality, grid).brain, box)

    @property
    def config(self) -> NetworkConfig:
        """Of the network."""
        return self._engine.config

    @property
    def cached_bytes(self) -> int:
        """Memory that encodings take at the moment."""
        return self._cache.used_bytes

    @property
    def device(self) -> str:
        """Where the network runs at the moment."""
        return self._engine.device.type

    def field(self, available: Collection[Modality], grid: WorkingGrid) -> Box:
        """The box of a working grid that is predicted, judged by the available images alone.

        For our own networks it holds the brain and grows to a lattice of 8 voxels, so that brain masks that differ a
        little give the same box, and encodings serve for every subset.
        """
        foregrounds = [self._image(modality, grid).foreground for modality in sorted(available)]
        return self._procedure.field(grid, foregrounds)

    def _passes(self, chosen: frozenset[Modality], viewport: Box | None) -> Iterator[TileResult]:
        channels = len(self._engine.config.outputs)
        coarse, fine = self.coarse_grid, self.fine_grid
        overview = Canvas(coarse, self.field(chosen, coarse), channels)
        detail = Canvas(fine, self.field(chosen, fine), channels)
        overview_tiles = self._tiles(overview.field, coarse)
        detail_tiles = self._tiles(detail.field, fine) if fine is not coarse else []
        total = len(overview_tiles) + len(detail_tiles)
        overlap, stage, judge = self._procedure.overlap, self._procedure.first_stage, self._procedure.judged
        if not detail_tiles:
            view = coarse.box_from_source(viewport) if viewport is not None else None
            overview_tiles = most_wanted_first(overview_tiles, overview.probabilities()[-1], overview.field.start, view)
        for done, box in enumerate(overview_tiles, 1):
            overview.put_tile(box, self._decode(chosen, coarse, box), overlap)
            place, probabilities = overview.on_source(box)
            yield TileResult(place, judge(probabilities), stage, done, total)
        if not detail_tiles:
            yield from self._doubted(overview, stage, total)
            return
        detail.put_coarse(overview)
        view = fine.box_from_source(viewport) if viewport is not None else None
        wanted = most_wanted_first(detail_tiles, detail.probabilities()[-1], detail.field.start, view)
        for done, box in enumerate(wanted, len(overview_tiles) + 1):
            detail.put_tile(box, self._decode(chosen, fine, box), overlap)
            place, probabilities = detail.on_source(box)
            yield TileResult(place, judge(probabilities), "fine", done, total)
        yield from self._doubted(detail, "fine", total)

    def _doubted(self, canvas: Canvas, stage: str, total: int) -> Iterator[TileResult]:
        """What changes when the picture is complete: whether a piece is sure anywhere cannot be seen before."""
        sure, each = self._procedure.sure, self._procedure.sure_each
        box = canvas.doubt(sure or 0, each) if sure is not None or any(each) else None
        if box is not None:
            place, probabilities = canvas.on_source(box)
            yield TileResult(place, self._procedure.judged(probabilities), stage, total, total)

    def _tiles(self, field: Box, grid: WorkingGrid) -> list[Box]:
        return self._procedure.tiles(field, self._longest[grid.spacing_mm])

    def _decode(self, chosen: frozenset[Modality], grid: WorkingGrid, box: Box) -> Tensor:
        return self._engine.decode({modality: self.encoding(modality, grid, box) for modality in sorted(chosen)})

    def _image(self, modality: Modality, grid: WorkingGrid) -> PreparedImage:
        if modality not in self._prepared:
            grids = [self.coarse_grid] if self.fine_grid is self.coarse_grid else [self.coarse_grid, self.fine_grid]
            volume = self.case.images[modality]
            # Files and layers were looked at; arrays of other programs were not.
            with np.errstate(over="ignore"):
                finite = np.isfinite(volume.data.astype(np.float32, copy=False)).all()
            if not finite:
                raise ShaSpecError(
                    f"values in the {modality.title} of {self.case.name} that are finite as 32-bit numbers",
                    "some that are infinite or not a number: a single one would spread to the whole image",
                    "Replace them first, as by numpy.nan_to_num, or scale them",
                )
            images = self._procedure.prepare(volume, modality, grids)
            self._prepared[modality] = {each.spacing_mm: image for each, image in zip(grids, images, strict=True)}
        return self._prepared[modality][grid.spacing_mm]

    def _chosen(self, available: Collection[Modality] | None) -> frozenset[Modality]:
        chosen = self.case.available if available is None else frozenset(available)
        if not chosen or not chosen <= self.case.available:
            raise ShaSpecError(
                f"one or more of the modalities of {self.case.name} ({subset_name(self.case.available)})",
                subset_name(chosen) or "none",
                "Choose among those that the case has",
            )
        return chosen

    def _fall_back(self, error: OutOfMemoryError) -> None:
        """Halve the tiles; at the shortest, move to the CPU with long ones again."""
        kept_bytes = self._cache.used_bytes
        self._cache.clear()
        device = self._engine.device
        longest = max(self._longest.values())
        if longest > SHORTEST_TILE:
            shorter = max(SHORTEST_TILE, longest // 2)
            self._longest = {spacing: min(side, shorter) for spacing, side in self._longest.items()}
            note = f"{device} ran out of memory: tiles of at most {shorter} voxels a side instead."
        elif self._procedure.longest() is None and kept_bytes:
            self._cache = FeatureCache(0)
            note = f"{device} ran out of memory: nothing is kept for toggles, which take longer instead."
        elif device.type != "cpu":
            self._engine = self._engine.on_cpu()
            self._longest = self._longest_tiles()
            note = f"{device} has no memory for the smallest tile: the CPU runs the network instead."
        else:
            raise ShaSpecError(
                "memory for a tile of the smallest size", f"none ({error})", "Close other programs and try again"
            ) from error
        self.notes = (*self.notes, note)

    def _longest_tiles(self) -> dict[float, int]:
        coarse, fine = self._procedure.longest() or (0, 0)
        # In this order: where both grids are one, it takes the coarse one's.
        return {self.fine_grid.spacing_mm: fine, self.coarse_grid.spacing_mm: coarse}
