"""Modalities, their subsets, and the table of file names."""

import pytest

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.modalities import (
    Modality,
    file_stem,
    is_label_map,
    nonempty_subsets,
    parse_subset,
    patient_part,
    recognise,
    subset_name,
)

FLAIR, T1, T1C, T2 = Modality

NAMES = {
    FLAIR: """
        BraTS20_Training_001_flair.nii.gz  Brats18_2013_0_1_flair.nii.gz  BraTS-GLI-00000-000-t2f.nii.gz
        BraTS-MET-00001-000-t2f.nii  TCGA-02-0003_1997.06.08_flair.nii.gz  UPENN-GBM-00001_11_FLAIR.nii.gz
        UCSF-PDGM-0004_FLAIR_bias.nii.gz  UCSF-PDGM-0004_FLAIR.nii.gz  sub-01_FLAIR.nii.gz
        sub-01_ses-post_FLAIR.nii.gz  sub-01_space-T1w_FLAIR.nii.gz  sub-01_acq-3D_desc-preproc_FLAIR.nii.gz
        sub-01_ce-gd_FLAIR.nii.gz  FLAIR.nii  flair.NII.GZ  T2 FLAIR.nii.gz  AX_T2_FLAIR.nii.gz  T2FLAIR.nii.gz
        AxFLAIR.nii.gz  AXT2FLAIRFS.nii.gz  3D_FLAIR_SAG.nii.gz  FLAIR3D.nii.gz  dark-fluid.nii.gz
        t2_space_dark-fluid_sag_p2_iso.nii.gz  t2_tirm_tra_dark-fluid.nii.gz  DarkFluid.nii  t2_spc_da-fl_sag.nii.gz
        FLAIR_post_contrast.nii.gz  patient7-flair-brain.nii.gz  7_SAG_CUBE_FLAIR.nii.gz
        sub-01_ses-set1_FLAIR.nii.gz  sub-set1_FLAIR.nii.gz
        GT-001_flair.nii.gz  PD_004-flair.nii.gz  BraTS-GLI-00000-000-t2f""",
    T1: """
        P9_T1_not_contrast.nii.gz  T1_utan_kontrast.nii.gz  T1_zonder_contrast.nii.gz  T1_uten_kontrast.nii.gz
        WMH_001_T1.nii.gz  lesion_study_T1.nii.gz
        GD-001_t1.nii.gz  CE12_T1.nii.gz
        BraTS20_Training_001_t1.nii.gz  BraTS-GLI-00000-000-t1n.nii.gz  TCGA-02-0003_1997.06.08_t1.nii.gz
        UPENN-GBM-00001_11_T1.nii.gz  UCSF-PDGM-0004_T1_bias.nii.gz  sub-01_T1w.nii.gz  sub-01_acq-mprage_T1w.nii.gz
        sub-01_ses-post_T1w.nii.gz  sub-01_ses-preop_run-1_T1w.nii.gz  sub-t2001_T1w.nii.gz  sub-01_ce-none_T1w.nii.gz
        sub-01_space-MNI152_desc-preproc_T1w.nii.gz  sub-01_label-brain_T1w.nii.gz  T1.nii.gz  t1.nii  T1w.nii.gz
        T1 pre.nii.gz  T1_PRE.nii.gz  T1w without contrast.nii.gz  t1_wo_contrast.nii.gz  t1_w_o_contrast.nii.gz
        T1_no_gd.nii.gz  T1_noncontrast.nii.gz  t1_non-contrast.nii.gz  T1_unenhanced.nii.gz  t1_nativ.nii.gz
        T1_bias_field_corrected.nii.gz  T1_sin_contraste.nii.gz  T1_ohne_Kontrastmittel.nii.gz  T1_cor.nii.gz
        T1 precontrast.nii.gz  T1_ohne_KM.nii.gz  T1_o_KM.nii.gz  T1 -C.nii.gz  AX T1 C-.nii.gz  AX_T1_C-.nii.gz
        T1W_C-.nii  T1-C-.nii  T1C-.nii  T1CM-.nii  set1_t1.nii  T1 FSE C-.nii.gz
        T1 C- axial.nii.gz  SE_T1_FLAIR.nii.gz
        T1_vor_KM.nii.gz  before_contrast_T1.nii.gz  T1_sans_gado.nii.gz  t1_mprage_sag_p2_iso.nii.gz
        MPRAGE.nii.gz  AX_T1_SE.nii.gz  T1_FSPGR.nii.gz  SAG_BRAVO.nii.gz  Ax T1 FLAIR.nii.gz
        patient_post_op_t1.nii.gz  patient_postop_T1w.nii.gz  t1_preop.nii.gz  T1_post_processed.nii.gz
        t1_gre.nii.gz  AXT1.nii.gz  T1COR.nii.gz  T1CUBE.nii.gz  case_T1_brain.nii.gz  T1-weighted.nii.gz
        sub_01_T1.nii.gz  t1_sub-01.nii.gz  sub01_t1.nii.gz
        IXI012-HH-1211-T1.nii.gz  sub-01-t1n.nii.gz  sub-01_acq-preproc_T1w.nii.gz  T1_postprocessed.nii.gz
        T1_to_MNI.nii.gz  T1_reg_T1_template.nii.gz  reg_T1.nii.gz""",
    T1C: """
        P8_T1_Gadolinio.nii.gz  T1_enh.nii.gz  T1_inj.nii.gz  T1_injected.nii.gz
        GT-001_t1ce.nii.gz  gd_t1.nii.gz  T1_GdDTPA.nii.gz  T1_gadobutrol.nii.gz  T1_MDC.nii.gz  T1_omniscan.nii.gz
        T1_KM2.nii.gz  T1_post2.nii.gz  T1_CM.nii.gz  T1-cm.nii.gz  T1+.nii.gz  T1w+ ax.nii.gz  T1_contraste.nii.gz
        BraTS20_Training_001_t1ce.nii.gz  BraTS-GLI-00000-000-t1c.nii.gz  BraTS-GLI-02405-100-t1c
        TCGA-02-0003_1997.06.08_t1Gd.nii.gz  TCGA-DU-7294_t1c.nii.gz  UPENN-GBM-00001_11_T1GD.nii.gz
        UCSF-PDGM-0004_T1c_bias.nii.gz  UCSF-PDGM-0004_T1c.nii.gz  sub-01_ce-gd_T1w.nii.gz
        sub-01_ce-GADOLINIUM_T1w.nii.gz  sub-01_ce-clariscan_run-2_T1w.nii.gz  sub-01_ses-preop_ce-gd_T1w.nii.gz
        sub-01_acq-postcontrast_T1w.nii.gz  sub-01_T1c.nii.gz  sub-01-t1c.nii.gz  T1C.nii.gz  CT1.nii.gz
        CT1_r2s_bet_reg.nii.gz  AX_T1_POST.nii.gz  t1_gd.nii.gz  T1 MPRAGE +C.nii.gz  T1+C.nii.gz  t1_c.nii.gz
        P01--T1C--2020.nii.gz  T1C--brain.nii.gz  P1_T1c-_brain.nii.gz  T1c- axial.nii.gz  site-C-_t1ce.nii.gz
        hospital_c-_t1c.nii
        T1 C+.nii.gz  T1-CE.nii.gz  T1wCE.nii.gz  ce_T1.nii.gz  GdT1.nii.gz  T1_KM.nii.gz  t1_space_sag_mKM.nii.gz
        T1_mit_KM.nii.gz  post contrast.nii.gz  T1 post contrast.nii.gz  T1_postcontrast.nii.gz  postcontrast.nii.gz
        T1_with_contrast.nii.gz  T1_contrast-enhanced.nii.gz  T1POST.nii.gz  AXT1POST.nii.gz  MPRAGE_GD.nii.gz
        mprage_post_gado.nii.gz  SAG_BRAVO_POST.nii.gz  T1_post_op_gd.nii.gz  AX T1 FLAIR POST.nii.gz
        T1_MPRAGE_Gadovist.nii.gz  t1gad.nii.gz  T1 +Gd.nii.gz  T1c_reg.nii.gz  T1_post_T1.nii.gz  T1Gd_to_T1c.nii.gz
        sub-01_ce-gd_acq-T1mprage_T1w.nii.gz""",
    T2: """
        BraTS20_Training_001_t2.nii.gz  BraTS-GLI-00000-000-t2w.nii.gz  TCGA-02-0003_1997.06.08_t2.nii.gz
        UPENN-GBM-00001_11_T2.nii.gz  UCSF-PDGM-0004_T2_bias.nii.gz  sub-01_T2w.nii.gz  sub-01_ses-t1_T2w.nii.gz
        sub-01_space-T1w_T2w.nii.gz  sub-01_ce-gd_T2w.nii.gz  T2.nii.gz  T2w.nii  T2_TSE.nii.gz
        t2_tse_tra_p2.nii.gz  AX_T2_FSE.nii.gz  T2FSE.nii.gz  T2FS.nii.gz  AXT2.nii.gz  patient_t2_0001.nii.gz
        T2 BLADE.nii.gz  T2_PROPELLER.nii.gz  T2SPACE.nii.gz  AX T2 post contrast.nii.gz  T2-weighted.nii.gz
        t2wi.nii.gz  T2_CUBE.nii.gz""",
    None: """
        T1_gd_no.nii.gz  T1_Gd_neg.nii.gz  T1_contrast_free.nii.gz  T1c_minus_T1.nii.gz  T1_delta.nii.gz
        P7_T1c_GTV.nii.gz  P7_T1_brain_pve_1.nii.gz  FLAIR_roi.nii.gz  FLAIR_WMH.nii.gz  FLAIR_lesions.nii.gz
        T1_gm.nii.gz  T1_csf.nii.gz  T1_aparc.nii.gz  flair_zmap.nii.gz  T1_jacobian.nii.gz
        T10.nii.gz  patient_T10_0001.nii.gz  t1_t2.nii.gz  t2_to_t1.nii.gz  flair_to_t1.nii.gz
        sweep_flair_WT_consensus.nii.gz  out_shared_T2_stand-in.nii.gz  P1_shared_FLAIR_1.nii.gz  x_specific_T1c.nii.gz
        T1_bias_field.nii.gz  T2_biasfield.nii.gz
        T1_to_T1c.nii.gz  t1_to_t1ce.nii.gz  T1_reg_to_T1c.nii.gz  T1_coreg_T1Gd.nii.gz  t1c_2_t1.nii.gz
        T1_post_to_T1.nii.gz  t1_in_flair_space.nii.gz  T2star.nii.gz  T2*.nii.gz  AX T2* GRE.nii.gz  t2_star_w.nii.gz
        P1_t1_sub.nii.gz  T1_Gd_sub.nii.gz
        sub-01_T2starw.nii.gz  sub-01_T2star.nii.gz  T2_GRE.nii.gz  t2_fl2d_tra_hemo.nii.gz  T2_FFE.nii.gz
        T2s.nii.gz  T1map.nii.gz  T1_map.nii.gz  sub-01_T1map.nii.gz  T2 mapping.nii.gz  T1rho.nii.gz  ADC.nii.gz
        DWI.nii.gz  UCSF-PDGM-0004_ADC.nii.gz  UCSF-PDGM-0004_SWI_bias.nii.gz  UCSF-PDGM-0004_DTI_eddy_FA.nii.gz
        UCSF-PDGM-0004_ASL.nii.gz  ep2d_diff_t2.nii.gz  T2_DWI_trace.nii.gz  SWI_T2.nii.gz  PD_T2.nii.gz
        sub-01_PDw.nii.gz  T1_brain_mask.nii.gz  T1_brainmask.nii.gz  sub-01_desc-brain_mask.nii.gz
        sub-01_mod-T1w_defacemask.nii.gz  T1_seg.nii.gz  BraTS20_Training_001_seg.nii.gz  sub-01_dseg.nii.gz
        sub-01_space-T1w_dseg.nii.gz  STIR_T2.nii.gz  t2_tirm_cor.nii.gz  T1_pre_post.nii.gz
        T1_w_wo_contrast.nii.gz  T1 with and without contrast.nii.gz  T1_subtraction.nii.gz  BRATS_001.nii.gz
        brain.nii.gz  image.nii.gz  .nii.gz  case_post.nii.gz  post_op.nii.gz  gd.nii.gz  sub-01_ses-T1w_bold.nii.gz
        set1_flair.nii.gz  Set1_T2.nii.gz  set1FLAIR.nii.gz  P1_set1FLAIR.nii.gz
        T1/0001.nii.gz  flair/IM-0001.nii.gz  contact1.nii.gz  xt1.nii.gz  t2pred.nii.gz""",
}


def names(text: str) -> list[str]:
    return [name.strip() for line in text.split("\n") for name in line.split("  ") if name.strip()]


@pytest.mark.parametrize(("filename", "modality"), [(name, key) for key, text in NAMES.items() for name in names(text)])
def test_table_of_file_names(filename: str, modality: Modality | None) -> None:
    assert recognise(filename) is modality
    assert recognise(f"flair/{filename}") is modality, "a folder's name must not matter"


LABEL_MAPS = """
    BraTS20_Training_001_seg.nii.gz  BraTS-GLI-00000-000-seg.nii.gz  W39_1998.09.19_Segm.nii  sub-01_dseg.nii.gz
    sub-01_space-T1w_desc-tumor_dseg.nii.gz  UCSF-PDGM-0004_tumor_segmentation.nii.gz  UPENN-GBM-00001_11_segm.nii.gz
    UPENN-GBM-00001_11_automated_approx_segm.nii.gz  TCGA-02-0003_1997.06.08_GlistrBoost_ManuallyCorrected.nii.gz
    seg.nii.gz  Segmentation.nii  labels.nii.gz  truth.nii.gz  ground_truth.nii.gz  flair_seg.nii.gz
    brain_tumour_07_seg.nii.gz  GT-001_seg.nii.gz  WM-12_seg.nii.gz  gt_001_new.nii.gz  gt_01.nii.gz"""
NO_LABEL_MAPS = """
    T1.nii.gz  UCSF-PDGM-0004_brain_segmentation.nii.gz  UCSF-PDGM-0004_brain_parenchyma_segmentation.nii.gz
    T1_brain_seg.nii.gz  aparc+aseg.nii.gz  sub-01_desc-aseg_dseg.nii.gz  sub-01_label-GM_probseg.nii.gz  seg_ET.nii.gz
    seg_TC.nii.gz  seg_WT.nii.gz  seg_prob.nii.gz  case_seg_pred.nii.gz  predicted_seg.nii.gz  brain_mask.nii.gz
    seg_shared_FLAIR.nii.gz  P1_seg_ET_consensus.nii.gz  tissue_seg.nii.gz  segment7.nii.gz"""


@pytest.mark.parametrize("filename", names(LABEL_MAPS))
def test_label_maps_are_recognised(filename: str) -> None:
    assert is_label_map(filename)
    assert recognise(filename) is None


@pytest.mark.parametrize("filename", names(NO_LABEL_MAPS))
def test_other_files_are_no_label_maps(filename: str) -> None:
    assert not is_label_map(filename)


@pytest.mark.parametrize(
    ("filename", "patient"),
    [
        ("BraTS20_Training_001_flair.nii.gz", "BraTS20_Training_001"),
        ("BraTS-GLI-00000-000-t2f.nii.gz", "BraTS-GLI-00000-000"),
        ("TCGA-02-0003_1997.06.08_t1Gd.nii.gz", "TCGA-02-0003_1997.06.08"),
        ("sub-01_ses-2_ce-gd_T1w.nii.gz", "sub-01_ses-2"),
        ("sub-01_FLAIR.nii", "sub-01"),
        ("AX_T1_POST.nii.gz", ""),
        ("Patient_No_5_t1.nii.gz", "Patient_No_5"),
        ("image.nii.gz", "image"),
        ("GT-001_flair.nii.gz", "GT-001"),
        ("GD-001_02_t1.nii.gz", "GD-001_02"),
    ],
)
def test_patient_part(filename: str, patient: str) -> None:
    assert patient_part(filename) == patient


def test_file_stem() -> None:
    assert file_stem("folder/a.b.nii.gz") == "a.b"
    assert file_stem("A.NII") == "A"


def test_subsets_in_the_order_of_the_tables() -> None:
    subsets = nonempty_subsets(list(Modality))
    assert len(subsets) == len(set(subsets)) == 15
    assert [len(subset) for subset in subsets] == [1] * 4 + [2] * 6 + [3] * 4 + [4]
    assert subsets[-1] == frozenset(Modality)


@pytest.mark.parametrize("subset", nonempty_subsets(list(Modality)))
def test_subset_names_round_trip(subset: frozenset[Modality]) -> None:
    assert parse_subset(subset_name(subset)) == subset


def test_subset_name_has_one_order() -> None:
    assert subset_name([T2, T1C, T1, FLAIR]) == "flair+t1+t1c+t2"


def test_parse_subset_takes_commas_case_and_other_names() -> None:
    assert parse_subset(" FLAIR, t1ce") == {FLAIR, T1C}
    assert parse_subset("T1Gd+T2") == {T1C, T2}


@pytest.mark.parametrize(("text", "found"), [("flair,pd", "'pd'"), (" , ", "none")])
def test_parse_subset_says_what_is_wrong(text: str, found: str) -> None:
    with pytest.raises(ShaSpecError, match="Expected") as caught:
        parse_subset(text)
    assert caught.value.found == found
