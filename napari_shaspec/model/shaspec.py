"""ShaSpec (Wang et al., CVPR 2023): shared and specific encoders, residual fusion, one decoder for any subset.

Equations and symbols: docs/model.md of this project and the paper, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.model.config import ModelConfig, Substitution
from napari_shaspec.model.encoder import UNetEncoder
from napari_shaspec.model.fusion import ResidualFusion, stand_in
from napari_shaspec.model.heads import UNetDecoder

Skips = dict[int, tuple[Tensor, ...]]
"""Maps of every level but the bottom, full resolution first, by the modality's index."""


class Encoding(NamedTuple):
    """What both encoders make of one modality of one tile; it does not depend on the other modalities.

    ``skips`` are the shared encoder's maps (B, C_l, *size / 2**l), full resolution first; ``shared`` r(i) and
    ``specific`` s(i) are (B, C, *bottom); ``specific_skips`` are the specific encoder's maps, kept where the decoder
    wants them.
    """

    skips: tuple[Tensor, ...]
    shared: Tensor
    specific: Tensor
    specific_skips: tuple[Tensor, ...] = ()

    @property
    def nbytes(self) -> int:
        """Memory of the tensors."""
        tensors = (*self.skips, self.shared, self.specific, *self.specific_skips)
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


class Output(NamedTuple):
    """A forward pass: the task's logits, and the encodings from which DAO and DCO are computed."""

    logits: Tensor
    encodings: dict[str, Encoding]


class SharedSpecific(nn.Module):
    """What all tasks have in common: `encode` once for each modality, `decode` for any non-empty subset of encodings.

    Encoders and decoder are the task's. The domain classifier of DCO is part of the module, because it is trained and
    saved with it.

    Parameters
    ----------
    shared
        An image -> skips and r(i); the same for every modality.
    specific
        One for each modality, by its name: an image -> skips and s(i).
    fusion
        Its maps have the channels of r(i) and s(i).
    decoder
        The fused maps of all modalities, and the available modalities' skips, shared and specific, by index -> logits.
    substitution
        What stands in for a missing modality.
    """

    specific_skips = False
    """Whether the decoder wants the specific encoders' skips, so that encodings have to keep them."""

    def __init__(
        self,
        shared: nn.Module,
        specific: Mapping[str, nn.Module],
        fusion: ResidualFusion,
        decoder: nn.Module,
        substitution: Substitution = Substitution.MEAN,
    ) -> None:
        super().__init__()
        free = nn.ModuleDict()
        if taken := [name for name in specific if hasattr(free, name)]:
            raise ShaSpecError("names of modalities that torch leaves free", repr(taken[0]), "Choose another name")
        self.substitution = substitution
        self.modalities = tuple(specific)
        self.shared = shared
        self.specific = nn.ModuleDict(specific)
        self.fusion = fusion
        self.decoder = decoder
        self.domain_classifier = nn.Linear(fusion.channels, len(self.modalities))

    def encode(self, image: Tensor, modality: str) -> Encoding:
        """(B, in_channels, *size), sides multiples of ``config.stride`` -> the modality's encoding."""
        self._check_known([modality])
        skips, shared = self.shared(image)
        specific_skips, specific = self.specific[modality](image)
        return Encoding(skips, shared, specific, specific_skips if self.specific_skips else ())

    def specific_maps(self, image: Tensor, modality: str) -> tuple[Tensor, ...]:
        """Every level of the modality's specific encoder, full resolution first; `decode` needs only the last."""
        self._check_known([modality])
        skips, specific = self.specific[modality](image)
        return (*skips, specific)

    def fused(self, encodings: Mapping[str, Encoding]) -> dict[str, Tensor]:
        """f(i) for every modality: residual fusion where it is available, the stand-in where it is missing."""
        self._check_known(encodings)
        available = [encodings[name].shared for name in self.modalities if name in encodings]
        substitute = stand_in(available, self.substitution)
        return {
            name: self.fusion(encodings[name].shared, encodings[name].specific) if name in encodings else substitute
            for name in self.modalities
        }

    def decode(self, encodings: Mapping[str, Encoding]) -> Tensor:
        """Encodings of the available modalities, in any order -> logits (B, outputs, *size)."""
        logits: Tensor = self.decoder(*self.decoder_inputs(encodings))
        return logits

    def decoder_inputs(self, encodings: Mapping[str, Encoding]) -> tuple[list[Tensor], Skips, Skips]:
        """All N fused maps, then shared and specific skips of the available modalities by index."""
        fused = self.fused(encodings)
        available = {index: encodings[name] for index, name in enumerate(self.modalities) if name in encodings}
        return (
            list(fused.values()),
            {index: encoding.skips for index, encoding in available.items()},
            {index: encoding.specific_skips for index, encoding in available.items()},
        )

    def forward(self, images: Mapping[str, Tensor]) -> Output:
        """Images (B, in_channels, *size) of the available modalities -> logits and encodings."""
        encodings = {name: self.encode(images[name], name) for name in self.modalities if name in images}
        self._check_known(images)
        return Output(self.decode(encodings), encodings)

    def _check_known(self, names: Mapping[str, object] | list[str]) -> None:
        unknown = [name for name in names if name not in self.modalities]
        if unknown or not names:
            raise ShaSpecError(
                f"one or more of the modalities {', '.join(self.modalities)}",
                ", ".join(unknown) or "none",
                "Pass only modalities that the checkpoint was trained on",
            )


class ShaSpec(SharedSpecific):
    """The segmentation network: U-Net encoders, and a decoder that climbs back to the image's resolution."""

    def __init__(self, config: ModelConfig) -> None:
        dims, widths = config.spatial_dims, config.widths

        def encoder() -> UNetEncoder:
            return UNetEncoder(dims, config.in_channels, widths, config.stem_convolutions)

        super().__init__(
            encoder(),
            {name: encoder() for name in config.modalities},
            ResidualFusion(dims, widths[-1]),
            UNetDecoder(config),
            config.substitution,
        )
        self.config = config
        self.specific_skips = config.specific_skips

    def decode_levels(self, encodings: Mapping[str, Encoding]) -> tuple[Tensor, list[Tensor]]:
        """As `decode`, and the decoder's map of every coarser level, bottom first: (B, C_l, *size / 2**l)."""
        assert isinstance(self.decoder, UNetDecoder)
        *coarse, finest = self.decoder.maps(*self.decoder_inputs(encodings))
        return self.decoder.output(finest), coarse
