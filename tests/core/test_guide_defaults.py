"""Names and defaults of linumpy's guide hold from tiles to the volume in the atlas; else the tutorial says why."""

from __future__ import annotations

import json
from typing import Any

import pytest
from voxelmill.testing.engine import PROJECT

SCHEMA = json.loads((PROJECT / "nextflow_schema.json").read_text())
KNOWN = {name: of for group in SCHEMA["$defs"].values() for name, of in group["properties"].items()}

MOSAIC: dict[str, Any] = {
    "use_old_folder_structure": False, "use_gpu": True, "processes": 1, "max_mosaic_forks": 4, "max_aip_forks": 4,
    "axial_resolution": 1.36, "resolution": -1, "sharding_factor": 4, "fix_galvo_shift": True, "fix_camera_shift": False,
    "preprocess": False, "galvo_confidence_threshold": 0.6, "generate_slice_config": True, "exclude_first_slices": 1,
    "detect_galvo": False, "generate_previews": False, "generate_aips": False,
}  # fmt: skip
RECONSTRUCT: dict[str, Any] = {
    "shifts_xy": "", "slice_config": "", "subject_name": "", "use_gpu": True, "enable_cpu_limits": True,
    "resolution": 10, "clip_percentile_upper": 99.9, "fix_curvature_enabled": False, "fix_illum_enabled": True,
    "crop_interface_out_depth": 600, "use_motor_positions_for_stitching": True, "stitch_overlap_fraction": 0.2,
    "stitch_blending_method": "diffusion", "max_blend_refinement_px": 10, "stitch_global_transform": False,
    "stitch_global_transform_slices": "", "stitch_global_transform_histogram_match": True,
    "stitch_global_transform_max_empty_fraction": 0.9, "stitch_global_transform_n_samples": 2048,
    "stitch_global_transform_seed": 0, "detect_rehoming": True, "rehoming_return_fraction": 0.4, "rehoming_max_shift_mm": 0.5,
    "tile_fov_mm": None, "tile_fov_tolerance": 0.05, "common_space_excluded_slice_mode": "local_median",
    "common_space_excluded_slice_window": 2, "common_space_refine_unreliable": False,
    "common_space_refine_max_discrepancy_px": 0, "common_space_refine_min_correlation": 0, "interpolate_missing_slices": True,
    "interpolation_method": "zmorph", "interpolation_blend_method": "gaussian", "interpolation_registration_metric": "MSE",
    "interpolation_max_iterations": 1000, "interpolation_overlap_search_window": 5,
    "interpolation_min_overlap_correlation": 0.3, "interpolation_reference_slab_size": 3,
    "interpolation_min_foreground_fraction": 0.1, "interpolation_min_ncc_improvement": 0.05, "auto_assess_quality": False,
    "auto_assess_min_quality": 0.3, "auto_assess_exclude_first": 1, "auto_assess_roi_size": 1024, "stitch_preview": True,
    "common_space_preview": False, "rehoming_diagnostics": False, "interpolation_preview": False, "analyze_shifts": True,
    "debug_slices": "", "registration_slicing_interval_mm": 0.2,
    "processes": 8, "max_cpus": 16, "reserved_cpus": 4,
}  # fmt: skip
VOLUME: dict[str, Any] = {
    "registration_transform": "euler", "registration_max_translation": 200, "registration_max_rotation": 5,
    "registration_initial_alignment": "both", "moving_slice_first_index": 4, "registration_allowed_drifting_mm": 0.1,
    "stack_blend_enabled": True, "blend_refinement_px": 0, "stack_blend_z_refine_vox": 5, "use_expected_z_overlap": True,
    "apply_pairwise_transforms": True, "apply_rotation_only": False, "max_rotation_deg": 5, "transform_confidence_high": 0.6,
    "transform_confidence_low": 0.3, "z_overlap_min_corr": 0.5, "blend_z_refine_min_confidence": 0.5,
    "skip_error_transforms": True, "skip_warning_transforms": True, "load_transform_min_zcorr": 0,
    "load_transform_max_rotation": 0, "auto_exclude_enabled": True, "auto_exclude_consecutive": 3, "auto_exclude_z_corr": 0.6,
    "stack_accumulate_translations": True, "stack_confidence_weight_translations": True, "stack_max_cumulative_drift_px": 50,
    "stack_max_pairwise_translation": 0, "stack_smooth_window": 5, "stack_translation_smooth_sigma": 3,
    "stack_translation_min_zcorr": 0.2, "pyramid_resolutions": "10.0,25.0,50.0,100.0", "pyramid_n_levels": None,
    "pyramid_make_isotropic": True, "correct_bias_field": False, "bias_mode": "two_pass", "bias_strength": 1,
    "align_to_ras_enabled": False, "allen_resolution": 25, "allen_metric": "MI", "allen_max_iterations": 1000,
    "allen_registration_level": 2, "ras_input_orientation": "", "ras_initial_rotation": "", "allen_preview": True,
    "export_manual_align": False, "manual_align_level": 1, "manual_transforms_dir": "", "refine_manual_transforms": False,
    "refine_max_translation_px": 10, "refine_max_rotation_deg": 2, "generate_report": True, "report_verbose": False,
    "report_format": "zip", "annotated_label_every": 1, "annotated_show_lines": False, "diagnostic_mode": False,
    "analyze_rotation_drift": False, "analyze_acquisition_rotation": False, "motor_only_stitch": False,
    "motor_only_stack": False, "compare_stitching": False, "motor_only_overlap": 0.2,
    "motor_only_stitch_blending": "diffusion", "motor_only_stack_blending": "none", "diagnostic_rotation_threshold": 2,
    "save_refinement_data": False, "comparison_tile_step": 60,
}  # fmt: skip
DOUBTED = ("auto_exclude_z_corr", "stack_smooth_window", "stack_translation_smooth_sigma", "comparison_tile_step")
OTHER = {("reconstruct", name) for name in ("processes", "max_cpus", "reserved_cpus", *DOUBTED)}
ALL = [
    (w, name, value) for w, of in (("mosaic", MOSAIC), ("reconstruct", RECONSTRUCT | VOLUME)) for name, value in of.items()
]


@pytest.mark.parametrize(("workflow", "name", "value"), ALL, ids=[f"{w}-{name}" for w, name, _ in ALL])
def test_defaults_are_those_of_the_guide(workflow: str, name: str, value: Any) -> None:
    found = KNOWN[name].get("x-defaults", {}).get(workflow, KNOWN[name].get("default"))
    if (workflow, name) not in OTHER:
        assert found == value
        return
    tutorial = (PROJECT / "docs/tutorials/reconstruct.md").read_text()
    section = tutorial[tutorial.index("## Defaults that are not") :].partition("\n## ")[0]
    assert found != value and f"`--{name}`" in section
