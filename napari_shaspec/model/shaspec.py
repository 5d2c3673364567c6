"""ShaSpec (Wang et al., CVPR 2023): shared and specific encoders, residual fusion, one decoder for any subset.

Equations and symbols: docs/model.md of this project and the paper, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.model.config import ModelConfig
from napari_shaspec.model.encoder import UNetEncoder
from napari_shaspec.model.fusion import ResidualFusion, stand_in
from napari_shaspec.model.heads import UNetDecoder


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


class ShaSpec(nn.Module):
    """`encode` once for each modality, `decode` for any non-empty subset of the encodings.

    The domain classifier of DCO is part of the module, because it is trained and saved with it.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        dims, widths = config.spatial_dims, config.widths

        def encoder() -> UNetEncoder:
            return UNetEncoder(dims, config.in_channels, widths, config.stem_convolutions)

        self.shared = encoder()
        self.specific = nn.ModuleDict({name: encoder() for name in config.modalities})
        self.fusion = ResidualFusion(dims, widths[-1])
        self.decoder = UNetDecoder(config)
        self.domain_classifier = nn.Linear(widths[-1], len(config.modalities))

    def encode(self, image: Tensor, modality: str) -> Encoding:
        """(B, in_channels, *size), sides multiples of ``config.stride`` -> the modality's encoding."""
        self._check_known([modality])
        skips, shared = self.shared(image)
        specific_skips, specific = self.specific[modality](image)
        return Encoding(skips, shared, specific, specific_skips if self.config.specific_skips else ())

    def specific_maps(self, image: Tensor, modality: str) -> tuple[Tensor, ...]:
        """Every level of the modality's specific encoder, full resolution first; `decode` needs only the last."""
        self._check_known([modality])
        skips, specific = self.specific[modality](image)
        return (*skips, specific)

    def fused(self, encodings: Mapping[str, Encoding]) -> dict[str, Tensor]:
        """f(i) for every modality: residual fusion where it is available, the stand-in where it is missing."""
        self._check_known(encodings)
        available = [encodings[name].shared for name in self.config.modalities if name in encodings]
        substitute = stand_in(available, self.config.substitution)
        return {
            name: self.fusion(encodings[name].shared, encodings[name].specific) if name in encodings else substitute
            for name in self.config.modalities
        }

    def decode(self, encodings: Mapping[str, Encoding]) -> Tensor:
        """Encodings of the available modalities, in any order -> logits (B, outputs, *size)."""
        fused = self.fused(encodings)
        available = {index: encodings[name] for index, name in enumerate(self.config.modalities) if name in encodings}
        logits: Tensor = self.decoder(
            list(fused.values()),
            {index: encoding.skips for index, encoding in available.items()},
            {index: encoding.specific_skips for index, encoding in available.items()},
        )
        return logits

    def forward(self, images: Mapping[str, Tensor]) -> Output:
        """Images (B, in_channels, *size) of the available modalities -> logits and encodings."""
        encodings = {name: self.encode(images[name], name) for name in self.config.modalities if name in images}
        self._check_known(images)
        return Output(self.decode(encodings), encodings)

    def _check_known(self, names: Mapping[str, object] | list[str]) -> None:
        unknown = [name for name in names if name not in self.config.modalities]
        if unknown or not names:
            raise ShaSpecError(
                f"one or more of the modalities {', '.join(self.config.modalities)}",
                ", ".join(unknown) or "none",
                "Pass only modalities that the checkpoint was trained on",
            )
