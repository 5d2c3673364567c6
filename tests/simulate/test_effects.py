"""Each effect by itself, on the same scene: it keeps what an image is, and does what its docstring says."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from napari_shaspec.modalities import Modality
from napari_shaspec.simulate import acquisition, contrast
from napari_shaspec.simulate.case import EFFECTS
from napari_shaspec.simulate.fields import Dice
from napari_shaspec.simulate.scene import CHANNELS, Effect, Scene
from napari_shaspec.simulate.settings import CLASSES, HELD_OUT, TRAINING, SimulatorSettings
from napari_shaspec.simulate.tumour import CORE, ENHANCING, OEDEMA

MakeScene = Callable[..., Scene]
FLAIR, T1, T1C, T2 = range(4)


def change(scene: Scene, effect: Effect) -> Tensor:
    """What the effect adds, (2, 4, X, Y, Z)."""
    before = scene.images.clone()
    return effect(scene) - before


@pytest.mark.parametrize("effect", EFFECTS, ids=lambda effect: effect.__name__)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_effect_runs_alone(make_scene: MakeScene, effect: Effect, seed: int) -> None:
    scene = make_scene(seed)
    images = effect(scene)
    assert images.shape == scene.images.shape
    assert images.dtype == torch.float32
    assert bool(images.isfinite().all())
    assert torch.equal(effect(make_scene(seed)), images)


def test_channels_are_the_modalities_in_order() -> None:
    assert CHANNELS == tuple(Modality) == (Modality.FLAIR, Modality.T1, Modality.T1C, Modality.T2)


def test_means_keep_what_can_be_seen(make_scene: MakeScene) -> None:
    for seed in range(5):
        means = contrast.class_means(make_scene(seed))
        assert means.shape == (2, 4, len(CLASSES))
        assert means.min() > 0
        white = CLASSES.index("white")
        assert bool((means[:, FLAIR, CLASSES.index("oedema")] > means[:, FLAIR, 2 : white + 1].amax(1)).all())
        others = means[:, T1C, white : CLASSES.index("enhancing")]
        assert bool((means[:, T1C, CLASSES.index("enhancing")] > others.amax(1) + 0.19).all())


def test_spin_echo_shrinks_contrast_between_grey_and_white_and_leaves_fluid_and_agent(make_scene: MakeScene) -> None:
    grey, white = CLASSES.index("cortex"), CLASSES.index("white")
    shares = []
    for seed in range(10):
        with_echo = contrast.class_means(make_scene(seed, spin_echo_chance=1.0))
        without = contrast.class_means(make_scene(seed, spin_echo_chance=0.0))
        untouched = [CLASSES.index(name) for name in ("ventricle", "sulcus", "white")]
        assert torch.equal(with_echo[:, :, untouched], without[:, :, untouched])
        assert torch.equal(with_echo[:, [FLAIR, T2]], without[:, [FLAIR, T2]])
        for channel in (T1, T1C):
            share = (with_echo[:, channel, grey] - with_echo[:, channel, white]) / (
                without[:, channel, grey] - without[:, channel, white]
            )
            shares.append(share)
    every = torch.cat(shares)
    assert 0.19 < every.min() < 0.5
    assert 0.7 < every.max() < 1.01


@pytest.mark.parametrize("settings", [TRAINING, HELD_OUT], ids=["training", "held-out"])
def test_what_does_not_enhance_looks_on_t1c_as_on_t1(make_scene: MakeScene, settings: SimulatorSettings) -> None:
    table = torch.tensor([settings.means[modality] for modality in CHANNELS])[:, 5:7]
    difference, spread = [], []
    for seed in range(20):
        means = contrast.class_means(make_scene(seed, means=settings.means))[:, :, 5:7]
        difference.append(means[:, T1C] - means[:, T1])
        spread.append(means[:, T1] - table[T1])
    assert torch.cat(difference).abs().max() < 0.2
    assert torch.cat(spread).abs().max() > 0.25


def test_the_signal_shows_each_class(make_scene: MakeScene) -> None:
    scene = make_scene(tissue_jitter=0.0, tumour_jitter=0.0, wild_contrast_chance=0.0)

    def mean(modality: int, where: Tensor) -> float:
        return float(scene.images[:, modality][where[:, 0]].mean())

    white = (scene.tissues[:, 4:] > 0.95) & (scene.ranks == 0)
    ventricle = scene.tissues[:, :1] > 0.95
    assert mean(FLAIR, scene.ranks == OEDEMA) > mean(FLAIR, white) > mean(FLAIR, ventricle)
    assert mean(T1C, scene.ranks == ENHANCING) > mean(T1C, white) > mean(T1C, scene.ranks == CORE)
    assert mean(T2, ventricle) > mean(T2, scene.ranks == OEDEMA) > mean(T2, white)
    assert mean(T1, white) > mean(T1, scene.ranks == OEDEMA)
    assert scene.images[:, :, 0, 0, 0].abs().max() == 0


def test_uneven_tumour_changes_the_tumour_only(make_scene: MakeScene) -> None:
    scene = make_scene()
    changed = change(scene, contrast.uneven_tumour).abs().amax(1, keepdim=True) > 0
    assert bool(changed.any())
    assert not (changed & (scene.ranks == 0)).any()
    relative = change(scene, contrast.uneven_tumour) / scene.images.clamp(min=1e-3)
    still, enhancing = ((scene.ranks[:, 0] == OEDEMA) | (scene.ranks[:, 0] == CORE)), scene.ranks[:, 0] == ENHANCING
    torch.testing.assert_close(relative[:, T1C][still], relative[:, T1][still])
    assert not torch.allclose(relative[:, T1C][enhancing], relative[:, T1][enhancing], atol=0.02)


def test_haemorrhage_changes_the_core_only(make_scene: MakeScene) -> None:
    scene = make_scene(haemorrhage_chance=1.0)
    changed = change(scene, contrast.haemorrhage_and_cysts).abs().amax(1, keepdim=True) > 0
    assert bool(changed.any())
    assert bool((scene.ranks[changed] == CORE).all())
    images = contrast.haemorrhage_and_cysts(make_scene(haemorrhage_chance=1.0))
    torch.testing.assert_close(images[:, T1C][changed[:, 0]], images[:, T1][changed[:, 0]])
    assert not change(make_scene(haemorrhage_chance=0.0), contrast.haemorrhage_and_cysts).any()


def test_bright_white_matter_is_bright_on_flair_and_t2_and_spares_the_tumour(make_scene: MakeScene) -> None:
    seen = torch.zeros(4)
    for seed in range(4):
        scene = make_scene(seed)
        added = change(scene, contrast.bright_white_matter)
        assert added[:, [FLAIR, T2]].min() >= 0
        assert added[:, [T1, T1C]].max() <= 0
        seen += added.abs().amax((0, 2, 3, 4))
    assert seen.min() > 0.1


def test_vessels_and_plexus_are_bright_on_t1c_and_outside_tumours(make_scene: MakeScene) -> None:
    for effect in (contrast.vessels, contrast.choroid_plexus):
        scene = make_scene()
        added = change(scene, effect)
        assert added[:, T1C].max() > 0.1
        assert not added[(scene.ranks > 0).expand_as(added)].any()
        assert not added[(scene.brain == 0).expand_as(added)].any()
    inside = scene.tissues[:, :1] > 0.5
    assert not added[~inside.expand_as(added)].any()


@pytest.mark.parametrize("alone", ["dura", "falx", "sinus"])
def test_dura_falx_and_sinuses_are_bright_on_t1c(
    make_scene: MakeScene, alone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = torch.tensor([[alone == name for name in ("dura", "falx", "sinus")]]).expand(2, -1)
    seen = 0
    for seed in range(4):
        scene = make_scene(seed)
        scene.from_midline_mm = (scene.from_midline_mm - scene.voxel_mm / 2).clamp(
            min=0
        )  # a plane of voxels in the midline
        with monkeypatch.context() as patch:
            patch.setattr(Dice, "chance", lambda *arguments: chosen)
            added = change(scene, contrast.dura_and_sinuses)[:, T1C : T1C + 1]
        assert added.min() >= 0
        assert not added[(scene.ranks > 0) | (scene.brain == 0)].any()
        away = {  # further than it reaches, and than the blur of 1.2 mm carries it
            "dura": -torch.nn.functional.max_pool3d(-scene.brain, 9, stride=1, padding=4) > 0,
            "falx": scene.from_midline_mm > 10,
            "sinus": scene.from_midline_mm > 12,
        }[alone]
        assert not added[away].any()
        seen += int((added > 0.05).sum())
    assert seen > 0


def test_without_dura_and_sinuses_nothing_changes(make_scene: MakeScene) -> None:
    assert not change(make_scene(dura_chance=0.0), contrast.dura_and_sinuses).any()


def test_around_the_brain_lie_fluid_and_then_dark_dura(make_scene: MakeScene) -> None:
    fluid = torch.tensor([TRAINING.means[modality][1] for modality in CHANNELS])
    seen = 0
    for seed in range(4):
        scene = make_scene(seed)
        before = scene.images.clone()
        after = contrast.meninges_and_bone(scene)
        inside = (scene.brain > 0).expand_as(after)
        assert torch.equal(after[inside], before[inside])
        assert after.min() >= 0
        far = torch.nn.functional.max_pool3d(scene.brain, 5, stride=1, padding=2) == 0  # 10 mm and more outside
        for channel, limit in ((FLAIR, 0.3), (T1, 0.35), (T1C, 0.8), (T2, 0.3)):
            assert 0 < after[:, channel][far[:, 0]].mean() < 1.1 * limit
        # Fluid is as bright on T2 as nothing that is dura or bone.
        layer = (after[:, T2] > 0.6 * fluid[T2]) & (scene.brain[:, 0] == 0)
        assert not (layer & far[:, 0]).any()
        seen += int(layer.sum())
    assert seen > 0


def test_a_cavity_shows_fluid_and_belongs_to_no_region(make_scene: MakeScene) -> None:
    for seed in range(6):
        scene = make_scene(seed, cavity_chance=1.0)
        before = scene.ranks.clone()
        hole = change(scene, contrast.resection_cavity).abs().amax(1, keepdim=True) > 0
        assert not scene.ranks[hole].any()
        assert torch.equal(scene.ranks[~hole], before[~hole])
        if (hole & (before > 0)).any():
            break
    else:
        pytest.fail("no cavity met a tumour")


def test_the_rim_lies_at_the_surface(make_scene: MakeScene) -> None:
    changed = torch.zeros(())
    for seed in range(4):
        scene = make_scene(seed)
        inner = -torch.nn.functional.max_pool3d(-scene.brain, 5, stride=1, padding=2)
        added = change(scene, contrast.skull_stripping_rim).abs()
        assert not (added * inner).any()
        changed = changed + added.sum()
    assert changed > 0


def test_misregistration_is_a_fraction_of_a_voxel(make_scene: MakeScene) -> None:
    scene = make_scene()
    still = make_scene(misregistration_mm=0.0)
    torch.testing.assert_close(acquisition.misregistration(still), still.images, rtol=0, atol=1e-5)
    moved = acquisition.misregistration(scene)
    assert 0 < (moved - scene.images).abs().mean() < 0.03
    torch.testing.assert_close(moved.mean((2, 3, 4)), scene.images.mean((2, 3, 4)), rtol=0.02, atol=0)


def test_thick_slices_smooth_one_axis(make_scene: MakeScene) -> None:
    scene = make_scene(thick_slice_chance=1.0, thick_slice_mm=(15.0, 15.0))
    thick = acquisition.thick_slices(scene)
    torch.testing.assert_close(thick.mean((2, 3, 4)), scene.images.mean((2, 3, 4)), rtol=0.05, atol=0)
    for channel in range(4):
        before, after = (
            [volume[:, channel].diff(dim=axis).square().mean() for axis in (1, 2, 3)]
            for volume in (scene.images, thick)
        )
        ratios = sorted(float(smooth / sharp) for sharp, smooth in zip(before, after, strict=True))
        assert ratios[0] < 0.35
        assert ratios[1] > 2 * ratios[0]
    none = make_scene(thick_slice_chance=0.0)
    assert torch.equal(acquisition.thick_slices(none), none.images)


def test_the_bias_field_is_a_smooth_positive_factor(make_scene: MakeScene) -> None:
    scene = make_scene(bias=(0.3, 0.3))
    inside = (scene.images > 0.05).all(1, keepdim=True).expand_as(scene.images)
    factor = acquisition.bias_field(scene) / scene.images
    assert factor[inside].min() > 0
    assert factor[inside].quantile(0.05) > 0.4
    assert factor[inside].quantile(0.95) < 2.5
    steps = factor.log().diff(dim=2)[inside[:, :, 1:] & inside[:, :, :-1]]
    assert steps.abs().max() < 0.2


def test_gamma_keeps_the_order_of_intensities(make_scene: MakeScene) -> None:
    scene = make_scene()
    bent = acquisition.gamma(scene)
    for before, after in zip(scene.images.flatten(0, 1), bent.flatten(0, 1), strict=True):
        order = before.flatten().argsort()
        assert bool((after.flatten()[order].diff() >= -1e-6).all())


def test_noise_is_rician(make_scene: MakeScene) -> None:
    scene = make_scene(noise=(0.05, 0.05))
    noisy = acquisition.rician_noise(scene)
    outside = noisy[(scene.brain == 0).expand_as(noisy)]
    assert outside.min() >= 0
    assert float(outside.mean()) == pytest.approx(0.05 * (torch.pi / 2) ** 0.5, rel=0.05)  # of a Rayleigh distribution
    bright = scene.images > 0.5
    assert float((noisy - scene.images)[bright].std()) == pytest.approx(0.05, rel=0.1)


def test_generous_masks_keep_a_layer_around_the_brain(make_scene: MakeScene) -> None:
    scene = make_scene(generous_mask_chance=1.0)
    kept = (acquisition.brain_mask(scene) > 0).any(1, keepdim=True)
    outer = torch.nn.functional.max_pool3d(scene.brain, 5, stride=1, padding=2) > 0
    assert not kept[~outer].any()
    assert kept[scene.brain > 0].float().mean() > 0.99
    tight = (acquisition.brain_mask(make_scene(generous_mask_chance=0.0)) > 0).any(1, keepdim=True)
    assert kept.sum() > 1.05 * tight.sum()


def test_the_brain_mask_strips_all_but_the_brain(make_scene: MakeScene) -> None:
    scene = make_scene(generous_mask_chance=0.0)
    stripped = acquisition.brain_mask(scene)
    kept = stripped > 0
    inner = -torch.nn.functional.max_pool3d(-scene.brain, 5, stride=1, padding=2) > 0
    outer = torch.nn.functional.max_pool3d(scene.brain, 5, stride=1, padding=2) > 0
    assert bool(kept[inner.expand_as(kept)].all())
    assert not kept[~outer.expand_as(kept)].any()
    assert stripped.min() == 0
