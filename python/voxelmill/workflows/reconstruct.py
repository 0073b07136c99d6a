"""Parameters that the wiring of `reconstruct` reads."""

from __future__ import annotations

from ..core.params import param
from ..core.shared import Given, Kept


class Parameters(Given, Kept):
    """Reconstruction."""

    shifts_xy: str = param("", "Table of shifts; without it shifts_xy.csv in --input", path=True)
    slice_config: str = param("", "Table of slices; without it slice_config.csv in --input, if there is one", path=True)
    analyze_shifts: bool = param(True, "Write statistics and drift plots of the shifts")
    detect_rehoming: bool = param(True, "Take steps of the stage that are none of the tissue out of the shifts")
    auto_assess_quality: bool = param(False, "Leave out slices that are unlike their neighbours")
    stitch_global_transform: bool = param(False, "Lay the tiles of all slices out as their seams say together")
    fix_illum_global: bool = param(
        False,
        "Light the tiles of all slices by one field, which slices tell together",
        more="For slices of few tiles. A slice that is added then changes all; without it each keeps its own under -resume.",
    )
    stitch_preview: bool = param(
        True, "Draw a page for each slice: tiles and seams, light before and after, the planes of the clean slice"
    )
    common_space_preview: bool = param(False, "Draw each slice in the common space, over the one before it")
    interpolate_missing_slices: bool = param(True, "Fill gaps of one slice; wider ones stay")
    auto_exclude_enabled: bool = param(True, "Leave out runs of slices that fit their neighbours badly")
    export_manual_align: bool = param(False, "Write a package for `voxelmill align`: pairs of slices, to be laid by hand")
    manual_transforms_dir: str = param(
        "", "Folder of transforms that were laid by hand; pairs in it are not registered", path=True
    )
    diagnostic_mode: bool = param(False, "All analyses that help to find out why a volume is not right")
    analyze_rotation_drift: bool = param(False, "Analyse how slices turn against each other, and what that adds up to")
    analyze_acquisition_rotation: bool = param(False, "Analyse whether the stage's axes lie askew to the images'")
    motor_only_stitch: bool = param(False, "Stitch slices by the stage alone, too")
    motor_only_stack: bool = param(False, "Stack slices by the stage alone, too")
    compare_stitching: bool = param(False, "Compare slices by the stage alone with those that are refined")
    subject_name: str = param(
        "",
        "Name of the volume; empty: a part `sub-...` of the path of --input, else the name of its folder",
        pattern=r"^[\w.+-]*$",
    )
    correct_bias_field: bool = param(False, "Take slow changes of brightness out of the volume")
    align_to_ras_enabled: bool = param(False, "Bring the volume into the frame of an atlas")
    atlas: str = param(
        "",
        "Atlas: NIfTI, NRRD, OME-Zarr or a folder of BrainGlobe; empty: the Allen mouse atlas in BrainGlobe's cache",
        path=True,
    )
