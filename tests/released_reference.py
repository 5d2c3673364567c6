"""The released code's network and its loop over tiles, written plainly from docs/model.md and in no way fast.

It shares nothing with the package: it standardises weights at every call, concatenates raw skips, runs the image of
zeros through the shared encoder at every tile, and normalises by the formula. Modules carry the released code's names.
"""

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional

SMALL = {"stem": 4, "widths": (2, 3, 4, 5), "blocks": (2, 1, 2, 1), "c": 6, "rising": (8, 6, 5, 4)}
"""Sizes of a network for tests; no two numbers that could be mixed up are equal."""


class StandardConv(nn.Conv3d):
    def __init__(
        self, a: int, b: int, kernel: int = 1, stride: object = 1, padding: int = 0, dilation: int = 1
    ) -> None:
        super().__init__(a, b, kernel, stride, padding, dilation, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        w = self.weight
        w = w - w.mean(dim=(1, 2, 3, 4), keepdim=True)
        w = w / torch.sqrt(w.var(dim=(1, 2, 3, 4), keepdim=True, unbiased=True) + 1e-12)
        return functional.conv3d(x, w, None, self.stride, self.padding, self.dilation)


class Norm(nn.InstanceNorm3d):
    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.mean((2, 3, 4), keepdim=True)
        var = ((x - mean) ** 2).mean((2, 3, 4), keepdim=True)
        y = (x - mean) / torch.sqrt(var + 1e-5)
        return y * self.weight[None, :, None, None, None] + self.bias[None, :, None, None, None]


def unit(a: int, b: int, kernel: int = 1, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (kernel - 1) // 2
    return nn.Sequential(StandardConv(a, b, kernel, 1, padding, dilation), Norm(b), nn.LeakyReLU(0.01))


class Bottle(nn.Module):
    def __init__(self, a: int, width: int, stride: int, downsample: bool) -> None:
        super().__init__()
        self.conv1, self.norm1 = StandardConv(a, width), Norm(width)
        self.conv2, self.norm2 = StandardConv(width, width, 3, stride, 1), Norm(width)
        self.conv3, self.norm3 = StandardConv(width, 4 * width), Norm(4 * width)
        self.downsample = nn.Sequential(StandardConv(a, 4 * width, 1, stride), Norm(4 * width)) if downsample else None
        self.act = nn.LeakyReLU(0.01)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.act(self.norm1(self.conv1(x)))
        y = self.act(self.norm2(self.conv2(y)))
        y = self.norm3(self.conv3(y))
        return self.act(y + (x if self.downsample is None else self.downsample(x)))


class Backbone(nn.Module):
    def __init__(self, stem: int, widths: tuple[int, ...], blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.conv1, self.norm1 = StandardConv(1, stem, 7, (1, 2, 2), 3), Norm(stem)
        self.act, self.pool = nn.LeakyReLU(0.01), nn.MaxPool3d(3, 2, 1)
        a = stem
        for k, (width, count) in enumerate(zip(widths, blocks, strict=True), 1):
            layer = [Bottle(a, width, 1 if k == 1 else 2, True)]
            layer += [Bottle(4 * width, width, 1, False) for _ in range(count - 1)]
            setattr(self, f"layer{k}", nn.Sequential(*layer))
            a = 4 * width

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        out = [self.act(self.norm1(self.conv1(x)))]
        y = self.pool(out[0])
        for k in range(1, 5):
            y = getattr(self, f"layer{k}")(y)
            out.append(y)
        return out


class Aspp(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.branch1, self.branch2 = unit(c, c), unit(c, c, 3, 2)
        self.branch3, self.branch4 = unit(c, c, 3, 4), unit(c, c, 3, 8)
        self.branch5_conv, self.branch5_norm = StandardConv(c, c), Norm(c)
        self.conv_cat = unit(5 * c, c)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = functional.leaky_relu(self.branch5_norm(self.branch5_conv(x.mean((2, 3, 4), keepdim=True))), 0.01)
        pooled = pooled.expand(-1, -1, *x.shape[2:])
        return self.conv_cat(torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x), pooled], 1))


class Enc(nn.Module):
    def __init__(self, stem: int, widths: tuple[int, ...], blocks: tuple[int, ...], c: int) -> None:
        super().__init__()
        self.backbone = Backbone(stem, widths, blocks)
        self.asppreduce = unit(4 * widths[-1], c)
        self.aspp = Aspp(c)

    def forward(self, x: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        *skips, deep = self.backbone(x)
        return skips, self.aspp(self.asppreduce(deep))


class Compos(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv = StandardConv(2 * c, c, 3, 1, 1)


class Stage(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = StandardConv(c, c, 3, 1, 1), Norm(c)
        self.conv2, self.norm2 = StandardConv(c, c, 3, 1, 1), Norm(c)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.leaky_relu(self.norm1(self.conv1(x)), 0.01)
        return functional.leaky_relu(self.norm2(self.conv2(y)) + x, 0.01)


class Dec(nn.Module):
    def __init__(self, stem: int, widths: tuple[int, ...], c: int, rising: tuple[int, ...]) -> None:
        super().__init__()
        skips = (stem, 4 * widths[0], 4 * widths[1], 4 * widths[2])
        before = 4 * c
        for k, after in zip((3, 2, 1, 0), rising, strict=True):
            setattr(self, f"transposeconv_stage{k}", nn.ConvTranspose3d(before, after, 2, 2, bias=False))
            setattr(self, f"shortcut_conv{k}", unit(4 * skips[k], after))
            setattr(self, f"stage{k}_de", nn.Sequential(Stage(after)))
            before = after
        self.cls_conv = nn.Sequential(nn.Conv3d(before, 3, 1, bias=False))

    def forward(self, fused: torch.Tensor, skips: list[torch.Tensor]) -> torch.Tensor:
        x = fused
        for k in (3, 2, 1, 0):
            x = getattr(self, f"transposeconv_stage{k}")(x) + getattr(self, f"shortcut_conv{k}")(skips[k])
            x = getattr(self, f"stage{k}_de")(x)
        return functional.interpolate(self.cls_conv(x), scale_factor=(1, 2, 2), mode="trilinear", align_corners=False)


class DualNet(nn.Module):
    """The whole; ``self_att`` is an attribute of that code's module."""

    def __init__(
        self,
        stem: int = 64,
        widths: tuple[int, ...] = (64, 128, 256, 320),
        blocks: tuple[int, ...] = (3, 4, 6, 3),
        c: int = 256,
        rising: tuple[int, ...] = (256, 128, 64, 32),
    ) -> None:
        super().__init__()
        self.self_att = False
        self.shared_enc = Enc(stem, widths, blocks, c)
        self.flair_enc = Enc(stem, widths, blocks, c)
        self.t1_enc = Enc(stem, widths, blocks, c)
        self.t1ce_enc = Enc(stem, widths, blocks, c)
        self.t2_enc = Enc(stem, widths, blocks, c)
        self.shared_dec = Dec(stem, widths, c, rising)
        self.compos_layer = Compos(c)
        self.dom_classifier = nn.Linear(c, 4)

    def forward(self, images: torch.Tensor, present: list[int]) -> torch.Tensor:
        """(1, 4, z, x, y), those that are missing being zeros -> logits (1, 3, z, x, y)."""
        shared = [self.shared_enc(images[:, [i]]) for i in range(4)]
        own = [self.flair_enc, self.t1_enc, self.t1ce_enc, self.t2_enc]
        fused = []
        for i in range(4):
            if i in present:
                r, s = shared[i][1], own[i](images[:, [i]])[1]
                fused.append(r + self.compos_layer.conv(torch.cat([r, s], 1)))
            else:
                fused.append(shared[min(present)][1])
        skips = [torch.cat([shared[i][0][level] for i in range(4)], 1) for level in range(4)]
        return self.shared_dec(torch.cat(fused, 1), skips)


def random_net(seed: int = 0, **sizes: object) -> DualNet:
    """Random weights, norms among them, with logits that spread around 0."""
    torch.manual_seed(seed)
    net = DualNet(**sizes).eval()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if parameter.ndim == 1 and "dom" not in name:
                parameter.copy_(
                    torch.rand_like(parameter) + 0.5 if name.endswith("weight") else torch.randn_like(parameter) * 0.3
                )
        weight = net.shared_dec.cls_conv[0].weight
        weight.copy_(6 * (weight - weight.mean(1, keepdim=True)))
    return net


def original_intensity(volume: np.ndarray) -> np.ndarray:
    """Clip the tail by the index of a bin, then z-score what differs from the corner."""
    volume = volume.astype(np.float64)
    counts, _ = np.histogram(volume, int(volume.max()))
    last = max(k for k in range(len(counts)) if counts[k] >= 50)
    volume = np.minimum(volume, last)
    inside = volume != volume[0, 0, 0]
    out = np.zeros_like(volume)
    out[inside] = (volume[inside] - volume[inside].mean()) / volume[inside].std()
    return out.astype(np.float32)


@torch.no_grad()
def original_case(
    net: DualNet, volumes: dict[int, np.ndarray], present: list[int], tile: tuple[int, int, int]
) -> np.ndarray:
    """Probabilities (3, x, y, z) of volumes (x, y, z) by channel, with the released code's loop over tiles."""
    size = next(iter(volumes.values())).transpose(2, 0, 1).shape
    padded = tuple(max(a, b) for a, b in zip(size, tile, strict=True))
    images = np.zeros((4, *padded), np.float32)
    for i in present:
        images[i, : size[0], : size[1], : size[2]] = original_intensity(volumes[i]).transpose(2, 0, 1)
    total, count = np.zeros((3, *padded)), np.zeros(padded)
    steps = [math.ceil(t * 2 / 3) for t in tile]
    numbers = [math.ceil((p - t) / s) + 1 for p, t, s in zip(padded, tile, steps, strict=True)]
    for place in np.ndindex(*numbers):
        corner = [min(k * s, p - t) for k, s, p, t in zip(place, steps, padded, tile, strict=True)]
        where = tuple(slice(a, a + t) for a, t in zip(corner, tile, strict=True))
        logits = net(torch.from_numpy(images[(slice(None), *where)].copy())[None], present)
        total[(slice(None), *where)] += torch.sigmoid(logits)[0].numpy()
        count[where] += 1
    mean = (total / count)[:, : size[0], : size[1], : size[2]]
    return mean.transpose(0, 2, 3, 1)


def original_labels(probabilities: np.ndarray) -> np.ndarray:
    """ET, TC, WT painted in the order WT = 2, TC = 1, ET = 4."""
    enhancing, core, whole = probabilities > 0.5
    labels = np.zeros(whole.shape, np.uint8)
    for mask, label in ((whole, 2), (core, 1), (enhancing, 4)):
        labels[mask] = label
    return labels
