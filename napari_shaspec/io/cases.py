"""Find out which files make up a case: a folder, files given one by one, or files with their modalities named.

Layouts: one folder for each case (BraTS, UCSF, UPENN, clinical exports) at any depth up to four, which covers BIDS
(``sub-01/ses-1/anat``) as well. docs/geometry.md lists the names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from types import MappingProxyType

from napari_shaspec.errors import ShaSpecError, nothing_at
from napari_shaspec.io.assembly import assemble
from napari_shaspec.io.folders import DEPTH, folders_in, nifti_files
from napari_shaspec.io.patients import case_name, check_one_patient, doubt_about, folder_name
from napari_shaspec.io.reach import is_file, is_folder
from napari_shaspec.io.report import is_own_answer
from napari_shaspec.io.text import listed
from napari_shaspec.modalities import Modality, file_stem, is_label_map, parse_modality, recognise
from napari_shaspec.volume import Case

_CORRECTED = ("_bias", "_manuallycorrected")
"""What names say of an image without its bias field (UCSF-PDGM), and of a label map that an expert went over (TCGA)."""

_NAMING_OR_SAYING = (
    "Name the files like case_flair.nii.gz, case_t1.nii.gz, case_t1c.nii.gz and case_t2.nii.gz, or say which modality "
    "each file is (on the command line: --flair FILE)"
)


@dataclass(frozen=True, slots=True)
class CaseFiles:
    """The files of a case that has not been read yet.

    Parameters
    ----------
    name
        What tables and files call the case.
    images
        One file for each available modality.
    truth
        The label map, if there is one.
    ignored
        NIfTI files beside them whose names say nothing.
    own_answers
        Label maps beside them that are none to compare with: `napari_shaspec.io.report.is_own_answer`.
    refusal
        Why the files make no case, if they do not: one bad folder must not hide a hundred good ones.
    truth_refusal
        Why there is no label map although there are several; who needs none is not refused.
    superseded
        Files beside which a corrected version of the same lies, which took their place.
    inside
        Folders within the case's own that hold images, too, and are not searched: derivatives mostly, or other visits.
    """

    name: str
    images: Mapping[Modality, Path]
    truth: Path | None = None
    ignored: tuple[Path, ...] = ()
    own_answers: tuple[Path, ...] = ()
    refusal: ShaSpecError | None = None
    truth_refusal: ShaSpecError | None = None
    superseded: tuple[Path, ...] = ()
    inside: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        ordered = {modality: self.images[modality] for modality in Modality if modality in self.images}
        object.__setattr__(self, "images", MappingProxyType(ordered))

    def __reduce__(self) -> tuple[type[CaseFiles], tuple[object, ...]]:
        """Survive the trip between processes, which a mapping proxy does not."""
        refusals = self.refusal, self.truth_refusal
        beside = self.ignored, self.own_answers
        return type(self), (self.name, dict(self.images), self.truth, *beside, *refusals, self.superseded, self.inside)

    @property
    def refusal_to_compare(self) -> ShaSpecError | None:
        """What is to be said to those who need a label map."""
        return self.refusal or self.truth_refusal

    def images_only(self) -> CaseFiles:
        """The same for those who need no label map."""
        return replace(self, truth=None, truth_refusal=None)

    def paths(self) -> list[Path]:
        """Images, and the label map if there is one."""
        return [*self.images.values(), *([self.truth] if self.truth is not None else [])]

    def read(self) -> Case:
        """Read the images and the label map onto one grid.

        Raises
        ------
        ShaSpecError
            A refusal, if there is one; if a file cannot be read, or if images do not overlap in space.
        """
        if self.refusal_to_compare is not None:
            raise self.refusal_to_compare
        case = assemble(self.name, self.images, self.truth)
        notes = {
            "ignored, because their names name no modality": self.ignored,
            "no label map to compare with, because the network made it": self.own_answers,
            "left aside for a corrected version of the same": self.superseded,
            "images lie within these folders, too, which are no cases unless they are given by themselves": self.inside,
        }
        said = [f"{why}: {_listed(paths)}" for why, paths in notes.items() if paths]
        if doubt := doubt_about(self.images.values()):
            said.append(doubt)
        return replace(case, notes=(*case.notes, *said)) if said else case


def read_case(*paths: str | Path) -> Case:
    """Read a case from its folder, or from files given one by one.

    Raises
    ------
    ShaSpecError
        If no modality or one modality twice is found, if a file given by itself is not recognised, if a file cannot be
        read, or if images do not overlap in space.
    """
    return case_files(*paths).read()


def read_case_files(images: Mapping[str, str | Path], truth: str | Path | None = None, name: str = "") -> Case:
    """Read a case whose modalities the caller knows, whatever the files are called.

    Parameters
    ----------
    images
        A file for each modality; text such as ``"t1ce"`` is as good as a `Modality`.

    Raises
    ------
    ShaSpecError
        If there is no image, one modality twice or an unknown one, if a file cannot be read, or if images do not
        overlap in space.
    """
    files = {parse_modality(name): Path(path) for name, path in images.items()}
    if len(files) < len(images):
        raise ShaSpecError("each modality once", ", ".join(images), "Leave out all but one")
    if not files:
        raise _nothing_found("the files given", ())
    case = CaseFiles(name or case_name(files.values(), ""), files, None if truth is None else Path(truth))
    return case.read()


def case_files(*paths: str | Path) -> CaseFiles:
    """Tell which file is which, without reading any; the arguments and errors are those of `read_case`."""
    given = [Path(path) for path in paths]
    folders = [path for path in given if is_folder(path)]
    if not folders:
        return _of_files(given)
    if len(given) > 1:
        raise ShaSpecError(
            "one case folder, or the files of one case", f"{len(given)} paths", "Give each case folder by itself"
        )
    cases = _search(folders[0])
    seen = [case for case in cases if case.refusal is None or not isinstance(case.refusal.__cause__, OSError)]
    cases = seen or cases  # a folder that cannot be looked into is no second case
    if not cases:
        raise _nothing_found(str(folders[0]), nifti_files(folders[0]))
    if len(cases) > 1:
        raise ShaSpecError(
            f"one case in {folders[0]}",
            f"{len(cases)}: {', '.join(case.name for case in cases[:4])}{', ...' if len(cases) > 4 else ''}",
            "Give the folder of one case or visit",
        )
    if cases[0].refusal is not None:
        raise cases[0].refusal
    return cases[0]


def find_cases(folder: str | Path) -> tuple[CaseFiles, ...]:
    """All cases below a folder, sorted by path, or the one that the folder itself is; nothing is read yet.

    Raises
    ------
    ShaSpecError
        If there is no such folder or no case in it. A case that has one modality twice is found with its refusal.
    """
    folder = Path(folder)
    if not is_folder(folder):
        raise ShaSpecError(f"a folder of cases at {folder}", "none", "Check the path")
    found = _search(folder, beside=True)
    if not found:
        raise _nothing_found(f"{folder} and the folders in it", nifti_files(folder))
    names = Counter(case.name.casefold() for case in found)
    # A table's rows must differ, so equal names (one patient, two visits) give way to the folders' names.
    alone = [names[case.name.casefold()] == 1 or not case.images for case in found]
    return tuple(
        _distinct(
            case if kept else replace(case, name=_folder_name(case, folder))
            for case, kept in zip(found, alone, strict=True)
        )
    )


def _distinct(cases: Iterable[CaseFiles]) -> Iterator[CaseFiles]:
    """The second of a name becomes ``name_2``; upper case makes no difference, nor does it on many disks."""
    taken: set[str] = set()
    for files in cases:
        name, number = files.name, 1
        while name.casefold() in taken:
            number += 1
            name = f"{files.name}_{number}"
        taken.add(name.casefold())
        yield files if name == files.name else replace(files, name=name)


def _search(folder: Path, *, beside: bool = False) -> list[CaseFiles]:
    """A folder that holds a recognised image is a case; of any other the folders in it are searched. Sorted by path.

    With ``beside`` those of the first as well: a template among the folders of patients must not hide them. Where links
    lead to a folder a second time, it is no second case.
    """
    seen: dict[Path, int] = {}
    found: list[tuple[Path, CaseFiles]] = []
    links = [(folder, DEPTH)]
    while links:  # after all that needs none, those first behind which the search may go deepest
        first = max(links, key=itemgetter(1))
        links.remove(first)
        found += _search_real(*first, seen, links, beside=beside and first[0] is folder)
    return [case for _, case in sorted(found, key=itemgetter(0))]


def _search_real(
    folder: Path, depth: int, seen: dict[Path, int], links: list[tuple[Path, int]], *, beside: bool = False
) -> Iterator[tuple[Path, CaseFiles]]:
    """`_search`, with the links that are met on the way put off; ``seen`` tells how deep it went from each folder."""
    real = folder.resolve()
    before, seen[real] = seen.get(real), max(depth, seen.get(real, 0))
    if before is not None and depth <= before:
        return
    name = folder_name(real)
    try:
        files = nifti_files(folder)
        # Whatever they are called: P1_flair_only.nii.gz holds what was made of the FLAIR image, and is none.
        own = tuple(path for path in files if (is_label_map(path) or recognise(path)) and is_own_answer(path))
        others = [path for path in files if path not in own]
        if any(recognise(path) for path in others):
            if before is None:
                within = () if beside else _folders_with_images(folder)
                yield folder, replace(_sorted_out(others, name), own_answers=own, inside=within)
            depth = depth if beside else 0
        inside = folders_in(folder) if depth else []
    except ShaSpecError as error:
        if before is None:
            yield folder, CaseFiles(name, {}, refusal=error)
    else:
        for inner in inside:
            if inner.is_symlink():
                links.append((inner, depth - 1))
            else:
                yield from _search_real(inner, depth - 1, seen, links)


def _folders_with_images(folder: Path) -> tuple[Path, ...]:
    """One level further in; what cannot be looked into holds none."""

    def holds_images(inner: Path) -> bool:
        try:
            return any(recognise(path) and not is_own_answer(path) for path in nifti_files(inner))
        except ShaSpecError:
            return False

    return tuple(inner for inner in folders_in(folder) if holds_images(inner))


def _of_files(files: list[Path]) -> CaseFiles:
    for path in files:
        if not is_file(path):
            raise nothing_at(path, "a file or folder")
    case = _sorted_out(files, "")
    if not case.images:
        raise _nothing_found("the files given", files)
    if case.ignored:
        raise ShaSpecError("file names that tell the modality", _listed(case.ignored), _NAMING_OR_SAYING)
    return case


def _sorted_out(files: Iterable[Path], fallback: str) -> CaseFiles:
    images: dict[Modality, Path] = {}
    truths: list[Path] = []
    ignored: list[Path] = []
    files = list(files)
    superseded = _superseded(files)
    for path in files:
        if path in superseded:
            continue
        modality = recognise(path)
        if modality is None:
            (truths if is_label_map(path) else ignored).append(path)
            continue
        if modality in images:
            raise ShaSpecError(
                f"each modality once in {path.parent}",
                f"{modality.title} twice, {images[modality].name} and {path.name}",
                "Remove one of them, keep each case in a folder of its own, or give the files one by one",
            )
        images[modality] = path
    check_one_patient([*images.values(), *truths])
    case = CaseFiles(case_name(images.values(), fallback), images, ignored=tuple(ignored), superseded=superseded)
    if len(truths) > 1:
        what_to_do = "Remove one, or say which (--reference FILE, where the command has it)"
        several = ShaSpecError(f"at most one label map in {truths[0].parent}", _listed(truths), what_to_do)
        return replace(case, truth_refusal=several)
    return replace(case, truth=truths[0]) if truths else case


def _superseded(files: Iterable[Path]) -> tuple[Path, ...]:
    """Images and label maps that lie there corrected as well, as in UCSF-PDGM and the TCGA collections."""
    told = [path for path in files if recognise(path) or is_label_map(path)]
    stems = {file_stem(path).lower() for path in told}
    return tuple(path for path in told if any(file_stem(path).lower() + behind in stems for behind in _CORRECTED))


def _folder_name(case: CaseFiles, folder: Path) -> str:
    inside = next(iter(case.images.values())).parent.relative_to(folder)
    return "_".join(part for part in inside.parts if part != "anat") or case.name


def _listed(paths: Iterable[Path]) -> str:
    return listed([path.name for path in paths])


def _nothing_found(place: str, files: Iterable[Path]) -> ShaSpecError:
    found = _listed(files)
    return ShaSpecError(
        f"at least one of FLAIR, T1, T1c, T2 in {place}",
        f"only {found}" if found else "no NIfTI file",
        _NAMING_OR_SAYING,
    )
