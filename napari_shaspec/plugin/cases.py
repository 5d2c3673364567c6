"""Which layer is which modality: guessed from file names, corrected by the user, handed to the controller."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_shaspec.modalities import Modality
from napari_shaspec.plugin.belonging import Folder, Whose, folder_of, identities
from napari_shaspec.plugin.controller import Controller
from napari_shaspec.plugin.layer_sources import LayerSources
from napari_shaspec.plugin.layers import (
    LayerSource,
    Placement,
    Role,
    file_of,
    guessed_modality,
    is_moved,
    role_of,
    straightening,
    turn_world,
)
from napari_shaspec.plugin.viewport import show_place

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer


ROWS = "What belongs together after all can be chosen in the rows."


class CaseLayers:
    """Watches the viewer's images, and keeps the controller's case in step with them.

    A newly opened image takes the slot that its name says. Files from another folder are another case: they take all
    slots, and the images of the case before are hidden, not removed. Of several cases that come at once the topmost
    counts. Images that tell of no file or case take slots that are empty, and no others. Where a layer is deleted, an
    older one of the same folder takes its place, and where all are, a case that was put aside; a reference goes with
    the last image of its patient. Whichever way another patient comes, its images are seen, and those before are not.

    Parameters
    ----------
    viewer
        Whose layers they are.
    controller
        Is told of every change.
    changed
        Called when other values are put into one of the images, or into the reference, when somebody may have painted
        on the reference, or when one is moved or scaled; `update` looks at them.
    """

    def __init__(self, viewer: ViewerModel, controller: Controller, changed: Callable[[], object]) -> None:
        self._viewer = viewer
        self._controller = controller
        self._sources = LayerSources(changed)
        self._slots: dict[Modality, Layer] = {}
        self._reference: Layer | None = None
        self._seen: list[Layer] = []
        self._refused: dict[Layer, Modality] = {}
        self._unusable: set[Layer] = set()
        # The reference, its folder where that is one of the images, and what tells of the images' patient.
        self._accompanied: tuple[Layer | None, Folder | None, Whose] = (None, None, Whose())
        self._told: tuple[dict[Modality, tuple[Layer, LayerSource]], LayerSource | None] = ({}, None)

    def candidates(self) -> list[Layer]:
        """Images that could be a modality."""
        return [
            layer
            for layer in self._viewer.layers
            if _may_become_a_modality(layer) and not layer.rgb and not layer.multiscale and layer.ndim == 3
        ]

    def names(self) -> list[str]:
        """Of the candidates, the topmost first."""
        return [layer.name for layer in reversed(self.candidates())]

    def origins(self) -> dict[str, str]:
        """Of the candidates by name, the topmost first: the file, or the case that was drawn; empty if none is told."""
        return {layer.name: str(file_of(layer) or folder_of(layer) or "") for layer in reversed(self.candidates())}

    def update(self) -> None:
        """Look at the layers again, and hand the case on if it is another.

        Raises
        ------
        ShaSpecError
            If a layer cannot be a modality; it loses its slot.
        """
        candidates = self.candidates()
        references = [layer for layer in self._viewer.layers if role_of(layer) is Role.REFERENCE]
        self._controller.state.images = tuple(self.names())
        then = self._accompanied[2]
        lost = self._drop_deleted(candidates, references)
        new = [layer for layer in (*candidates, *references) if layer not in self._seen]
        self._seen = [*candidates, *references]
        self._sources.watch([*filter(_may_become_a_modality, self._viewer.layers), *references])
        for layer in self._sources.assigned & self._refused.keys() & set(candidates):
            self._slots.setdefault(self._refused.pop(layer), layer)
        guessed = {layer: guessed_modality(layer) for layer in new if layer in candidates}
        recognised = {layer: modality for layer, modality in guessed.items() if modality is not None}
        if lost and not self._slots and not recognised:
            recognised = self._put_aside_before(candidates, Whose.of(lost))
        folder = self._latest_folder(recognised)
        others = [layer for layer in recognised if folder_of(layer) not in (folder, None)]
        before = self._leave_case(folder)
        former = list(self._slots.values())
        self._fill_slots(recognised, folder)
        if recognised and Whose.of(former).are_anothers(Whose.of(self._slots.values())):
            before += [layer for layer in former if layer not in self._slots.values()]  # as in the same folder
        self._choose_reference([layer for layer in new if layer in references], [*others, *before])
        self._put_aside([*others, *before])
        self._settle_reference(references)
        self._show_instead(then, [*candidates, *references])
        here = set(self._sources.watched) - set(self._slots.values())
        self._refused = {layer: lost for layer, lost in self._refused.items() if layer in here}
        self._hand_on()
        self._say_which(recognised, folder, others=bool(others), before=bool(before))

    def _say_which(self, came: Mapping[Layer, Modality], folder: Folder | None, *, others: bool, before: bool) -> None:
        """Which images are used, where others came with them, or had been before."""
        state, name = self._controller.state, "another case" if folder is None else Path(folder).name
        if folder is not None and others:
            state.message = (
                f"Images of several cases are open: those of {name} are used, and the others are hidden. {ROWS}"
            )
            return
        if before and not state.message:
            state.message = f"The images of {name} are used, and those before are hidden. {ROWS}"
        if twice := self._several(came, folder):
            state.message = "\n".join(filter(None, (state.message, twice)))

    def _several(self, came: Mapping[Layer, Modality], folder: Folder | None) -> str:
        """What to say where several images of one modality have come at once."""
        of_case = [(layer, modality) for layer, modality in came.items() if folder_of(layer) == folder]
        counts = Counter(modality for _, modality in of_case)
        lines = []
        for modality, count in counts.items():
            if count > 1 and folder is not None and modality in self._slots:
                layer = self._slots[modality]
                name = file.name if (file := file_of(layer)) is not None else layer.name
                lines.append(f"{count} images are named {modality.title}: {name} is used; choose another in its row.")
        return "\n".join(lines)

    def choose(self, modality: Modality, name: str | None) -> None:
        """The user's own choice of a layer; one layer is one modality."""
        replaced = self._slots.pop(modality, None)
        self._refused = {layer: lost for layer, lost in self._refused.items() if lost is not modality}
        if name is not None and name in self._viewer.layers:
            layer = self._viewer.layers[name]
            self._sources.forget(layer)
            self._slots = {other: kept for other, kept in self._slots.items() if kept is not layer}
            self._slots[modality] = layer
            if not self._is_seen():
                self._put_aside([] if replaced is None else [replaced])
                layer.visible = True

    def warnings(self) -> dict[Modality, str]:
        """What is unusual about each modality's image: its name, its grid, its background."""
        warnings: dict[Modality, list[str]] = {modality: [] for modality in self._slots}
        notes = self._controller.state.notes
        for modality, layer in self._slots.items():
            likely = guessed_modality(layer)
            if likely not in (None, modality):
                warnings[modality].append(f"named like {likely.title}")
            told = self._told[0].get(modality)
            if told is None or told[0] is not layer:
                continue  # it is looked at before long
            source = told[1]
            file = (source.path or Path(layer.name)).name
            warnings[modality].extend(source.notes)
            if is_moved(layer):
                warnings[modality].append("moved in the viewer: its place in the file counts")
            for note in notes:
                if file in note.partition(":")[0] and not {note, _short(note)} & set(warnings[modality]):
                    warnings[modality].append(_short(note))
        return {modality: "; ".join(said) for modality, said in warnings.items() if said}

    def shown_image(self, preferred: Layer | None = None) -> Layer | None:
        """The preferred image of the case while it is visible, else the topmost visible one, else the first."""
        shown = [layer for layer in self._viewer.layers if layer in self._slots.values() and layer.visible]
        if preferred in shown:
            return preferred
        return shown[-1] if shown else next(iter(self._slots.values()), None)

    def point_at(self, labels: NDArray[np.uint8] | None) -> None:
        """Show the slice with the most tumour, or the middle of the image."""
        case = self._controller.state.case
        if case is None or self._viewer.dims.ndim != 3:
            return
        placement = Placement.of(case.grid)
        place = [side / 2 for side in reversed(placement.to_ras_shape())]
        if labels is not None and labels.any():
            shown = placement.to_display(labels) > 0
            place = [float(np.argmax(np.count_nonzero(shown, axis=_others(axis)))) for axis in range(3)]
        world = placement.affine @ np.array([*place, 1.0])
        show_place(self._viewer.dims, world[:3])

    def straighten(self) -> None:
        """Show images and reference in the world that is turned for the case's grid, whatever grid each has itself.

        What lies on the case's grid is shown so already; of other grids napari leaves out the rest of the turn.
        """
        case = self._controller.state.case
        if case is None:
            return
        turn = straightening(Placement.of(case.grid).patient)
        layers = [*self._slots.values(), *([] if self._reference is None else [self._reference])]
        for layer in layers:
            if layer.ndim == 3:
                turn_world(layer, turn)

    def close(self) -> None:
        """Let go of viewer and layers."""
        self._sources.close()
        self._slots, self._seen, self._told, self._refused, self._unusable = {}, [], ({}, None), {}, set()
        self._accompanied = (None, None, Whose())
        self._viewer = self._reference = None

    def _hand_on(self) -> None:
        images: dict[Modality, tuple[Layer, LayerSource]] = {}
        try:
            for modality in Modality:
                if modality in self._slots:
                    layer = self._slots[modality]
                    images[modality] = layer, self._sources.of(layer)
        except Exception:
            self._refused[self._slots.pop(modality)] = modality
            self._hand_on()
            raise
        try:
            reference = None if self._reference is None else self._sources.of(self._reference)
        except Exception:
            self._unusable.add(self._reference)
            self._reference = None
            self._hand_on()
            raise
        self._sources.settle()
        if (images, reference) == self._told:
            # Perhaps one was renamed.
            self._controller.state.slots = {modality: layer.name for modality, (layer, _) in images.items()}
            return
        before = identities(layer for layer, _ in self._told[0].values())
        self._told = images, reference
        self._controller.set_images(
            {modality: (layer.name, source) for modality, (layer, source) in images.items()},
            reference,
            another_patient=before.isdisjoint(identities(layer for layer, _ in images.values())),
        )

    def _latest_folder(self, images: Iterable[Layer]) -> Folder | None:
        """Of the topmost image that is visible, since those put aside are hidden; None if none tells of a folder.

        A hidden one begins a case only where there is none, since a copy of an image put aside is hidden too; to the
        case that is there it may belong.
        """
        telling = [layer for layer in images if folder_of(layer) is not None]
        here = Whose.of(self._slots.values())
        shown = [layer for layer in telling if layer.visible] or [
            layer
            for layer in telling
            if not self._slots or (folder_of(layer) in here.folders and not Whose.of([layer]).are_anothers(here))
        ]
        return folder_of(shown[-1]) if shown else None

    def _drop_deleted(self, candidates: list[Layer], references: list[Layer]) -> list[Layer]:
        """The images that were deleted; an older one of the same folder, if there is any, has the place of each."""
        lost = {modality: layer for modality, layer in self._slots.items() if layer not in candidates}
        self._slots = {modality: layer for modality, layer in self._slots.items() if modality not in lost}
        for modality, gone in lost.items():
            folder = folder_of(gone)
            for layer in reversed(candidates if folder is not None else []):
                free = layer in self._seen and layer not in self._slots.values() and layer not in self._refused
                if free and guessed_modality(layer) is modality and folder_of(layer) == folder:
                    self._slots[modality] = layer
                    break
        if self._reference not in references:
            self._reference = None
        return list(lost.values())

    def _put_aside_before(self, candidates: list[Layer], deleted: Whose) -> dict[Layer, Modality]:
        """Images of other cases than the one that was deleted: of that one the user has chosen what is left out."""
        return {
            layer: modality
            for layer in candidates
            if (modality := guessed_modality(layer)) is not None
            and folder_of(layer) is not None
            and layer not in self._refused
            and Whose.of([layer]).are_anothers(deleted)
        }

    def _settle_reference(self, references: list[Layer]) -> None:
        """One that has been there goes when all of its images have, or when none is of its folder any more.

        Where there is none, the latest that lies beside the images has its place.
        """
        self._unusable = {layer for layer in self._unusable if layer in references} - self._sources.assigned
        images = Whose.of(self._slots.values())
        reference, folder, company = self._accompanied
        if self._slots and self._reference is not None and self._reference is reference:
            left = folder is not None and folder not in images.folders
            if company.are_anothers(images) or left:
                self._reference = None
        if self._reference is None and len(images.folders) == 1:
            beside = [layer for layer in references if folder_of(layer) in images.folders]
            # A folder may hold the files of many.
            others = Whose.of(self.candidates()).patients - images.patients
            fitting = [each for each in beside if each not in self._unusable and not Whose.of([each]).patients & others]
            self._reference = fitting[-1] if fitting else None
        if self._slots:
            lies = None if self._reference is None else folder_of(self._reference)
            self._accompanied = self._reference, lies if lies in images.folders else None, images

    def _leave_case(self, folder: Folder | None) -> list[Layer]:
        """Empty the slots if images of another folder come; what was in them."""
        if folder is None or not self._slots or folder in map(folder_of, self._slots.values()):
            return []
        left = [*self._slots.values(), *([self._reference] if self._reference is not None else [])]
        self._slots, self._reference, self._refused = {}, None, {}
        return left

    def _fill_slots(self, images: Mapping[Layer, Modality], folder: Folder | None) -> None:
        for layer, modality in images.items():
            if folder is not None and folder_of(layer) == folder:
                self._slots[modality] = layer
        for layer, modality in images.items():
            # What a filter made of an image does not replace it; a hidden layer may be of a case that was put aside.
            if folder_of(layer) is None and (layer.visible or folder is None):
                self._slots.setdefault(modality, layer)

    def _choose_reference(self, new: list[Layer], aside: list[Layer]) -> None:
        """The latest, but none that lies beside images that are put aside; one beside those of the case comes first."""
        here = Whose.of(self._slots.values()).folders
        left = Whose.of(layer for layer in aside if role_of(layer) is not Role.REFERENCE).folders - here
        fitting = [layer for layer in new if folder_of(layer) not in left]
        if fitting:
            self._reference = sorted(fitting, key=lambda layer: folder_of(layer) in here)[-1]

    def _put_aside(self, layers: Iterable[Layer]) -> None:
        for layer in layers:
            layer.visible = False

    def _is_seen(self) -> bool:
        return any(layer.visible for layer in self._slots.values())

    def _show_instead(self, then: Whose, layers: Iterable[Layer]) -> None:
        """Put aside what belongs to the images there were, and not to those of now; of these let one be seen.

        All others are left as they are: the user may have shown them to compare, or hidden them to see the labels.
        """
        now = Whose.of(self._slots.values())
        whose = {layer: Whose.of([layer]) for layer in layers if layer is not self._reference}
        self._put_aside(
            layer
            for layer, its in whose.items()
            if its.folders & then.folders and not its.are_anothers(then) and its.are_anothers(now)
        )
        if then.are_anothers(now) and not self._is_seen():
            first = next(modality for modality in Modality if modality in self._slots)
            self._slots[first].visible = True


def _may_become_a_modality(layer: Layer) -> bool:
    """Whether it holds an image, of whatever shape, that is none of ours."""
    return type(layer).__name__ == "Image" and role_of(layer) in (None, Role.IMAGE)


def _others(axis: int) -> tuple[int, ...]:
    return tuple(other for other in range(3) if other != axis)


def _short(note: str) -> str:
    """A note without the file's name, in a few words where they are known."""
    _, _, text = note.partition(": ")
    for long, short in (
        ("resampled", "resampled onto the case's grid"),
        ("more than 2.3 litres", "not skull-stripped?"),
    ):
        if text.startswith(long):
            return short
    return text or note
