"""What `voxelmill scale` does not count, and why that does not matter, or where its figures stand.

`connectome` and `reconstruct` have models. `mosaic` and `timelapse` have none: twice the input is twice the time, and no task
that reads pixels sees more than its slice, block or batch.
"""

from __future__ import annotations

from collections.abc import Iterable

TABLES = "reads tables, headers or names of files alone"
LISTS = "only with more than 20,000 files, no more than a look at each"
PAGE = "goes with the number of records and pictures, as in the model of connectome"
PLANES = "reads three planes through the middle"
FIXED = "looks at a level, or at means, of a fixed number of voxels"
ASKED = "only where asked for: a task a slice or a pair, about as long as its part of prepare_slice or register_pairwise"
INSTEAD = "with --publish_intermediates in place of prepare_slice: the same work, each step written besides"
LINKS = "links the files of blocks; one look at each"
A_SLICE = "a task a slice: linear in its voxels, tile by tile or plane by plane"
A_BLOCK = "a task a block of shards or a few sections: linear in their voxels, held shard by shard"
A_BATCH = "a task a batch of fields of view: linear in their pixels, a frame at a time (docs/tutorials/timelapse.md)"


def because(reason: str, stages: str) -> dict[str, str]:
    return dict.fromkeys(stages.split(), reason)


NOT_COUNTED: dict[str, dict[str, str]] = {
    "reconstruct": {
        **because(LISTS, "list_files"),
        **because(
            TABLES,
            "list_slices estimate_slices analyze_shifts detect_rehoming_events plan_common_space auto_exclude_slices "
            "plan_stack plan_levels finalise_interpolation analyze_rotation_drift analyze_acquisition_rotation",
        ),
        **because(PLANES, "volume_preview slice_preview"),
        **because(FIXED, "fit_bias_field register_to_atlas"),
        **because("a task a gap of one slice: about as long as a pair", "interpolate_missing_slice"),
        **because(
            INSTEAD,
            "resample_mosaic_grid fix_focal_curvature fix_illumination stitch_3d_with_refinement beam_profile_correction "
            "crop_interface normalize",
        ),
        **because(
            ASKED,
            "auto_assess_quality estimate_global_transform estimate_global_illumination common_space_preview "
            "refine_manual_transforms make_manual_align_package stitch_motor_only stitch_refined compare_stitching "
            "stack_motor_only",
        ),
        **because("only with --align_to_ras_enabled: a task a block, as correct_bias_field", "align_to_ras"),
        **because("only with --nifti: one task that writes the volume once more, as zip_volume", "export_nifti"),
        **because(LINKS, "join join_levels"),
        **because(PAGE, "report"),
    },
    "mosaic": {
        **because(LISTS, "list_files"),
        **because(TABLES, "list_tiles inspect_tiles estimate_tiles plan_mosaic generate_slice_config"),
        **because(A_SLICE, "create_mosaic_grid generate_aip generate_mosaic_preview"),
        **because(A_BLOCK, "place_tiles stitch_tiles"),
        **because("as in the model of connectome", "pyramid multiscale"),
        **because(LINKS, "join"),
        **because(FIXED, "mosaic_figures"),
        **because(PAGE, "report"),
    },
    "timelapse": {
        **because(LISTS, "list_files"),
        **because(TABLES, "inspect_movie estimate_movie check_inputs merge_samples summarize"),
        **because(
            A_BATCH,
            "copy_movie read_detections segment_cells estimate_background track_cells crop_cells extract_traces "
            "export_tracks publish_fovs movie_figures fit_traces",
        ),
        **because(PAGE, "report"),
    },
}


def told(workflow: str) -> Iterable[str]:
    """A line for each reason: the stages, and why they are not counted."""
    by_reason: dict[str, list[str]] = {}
    for stage, reason in NOT_COUNTED[workflow].items():
        by_reason.setdefault(reason, []).append(stage)
    return (f"  {', '.join(stages)}: {reason}" for reason, stages in by_reason.items())
