"""Damaged, hostile and odd inputs: which tests show what must come of each. Tested here is that none of them is lost."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SHOWN = {
    "a TIFF cut off anywhere": [
        "ingest/test_tiff.py::test_cut_at_twenty_points",
        "ingest/test_tiff.py::test_cut_pixels_are_seen_in_the_header",
        "ingest/test_section_files.py::test_an_empty_and_a_cut_section",
    ],
    "NaN and infinity": ["ingest/test_ingest.py::test_nan_and_infinity"],
    "types that are no grey values": [
        "ingest/test_ingest.py::test_types_that_are_no_grey_values",
        "ingest/test_tiff.py::test_types_that_are_no_grey_values",
        "ingest/test_tiff.py::test_pages_of_unlike_shape_or_type",
    ],
    "nothing in a file, an axis without pixels": [
        "ingest/test_ingest.py::test_input_that_cannot_be_read",
        "ingest/test_sources.py::test_shapes_that_are_no_volume",
        "catalog/test_lineage.py::test_what_does_not_go_into_the_archive",
    ],
    "tiles and frames of unlike size": [
        "ingest/test_movies.py::test_tiff_pages_of_unequal_size_are_refused",
        "ingest/test_movies.py::test_a_frame_of_another_size_is_named",
    ],
    "two runs in one folder, two writers of a catalogue": [
        "engine/test_failures.py::test_one_run_at_a_time_in_a_folder",
        "catalog/test_releases.py::test_one_writer",
    ],
    "names that lead out of a zip, pipes, devices": [
        "ingest/test_remote.py::test_a_zip_is_never_unpacked",
        "catalog/test_lineage.py::test_what_does_not_go_into_the_archive",
    ],
    "headers that claim too much, pages in a circle, bombs": [
        "ingest/test_tiff.py::test_a_header_of_2_31_squared_is_refused_before_allocation",
        "ingest/test_tiff.py::test_pages_in_a_circle_and_a_bomb",
        "ingest/test_movies.py::test_a_claimed_size_that_nothing_backs_is_refused_before_memory_is_taken",
    ],
    "hostile Zarr metadata": [
        "core/test_volume.py::test_hostile_array_metadata_is_refused_by_field",
        "core/test_volume.py::test_one_chunk_of_everything_is_refused_before_allocation",
        "core/test_volume.py::test_hostile_image_metadata_is_refused_by_field",
        "core/test_volume.py::test_any_metadata_opens_or_is_refused",
    ],
    "a slice, a tile, a section that is missing": [
        "transform/test_plan_stack.py::test_a_missing_slice_keeps_its_place",
        "transform/test_prepare_slice.py::test_tiles_that_are_missing_stay_empty_and_harm_no_other",
        "transform/test_stitch_tiles.py::test_a_stack_of_sections_with_one_missing",
    ],
    "the same section twice": ["ingest/test_section_files.py::test_a_section_twice"],
    "a bit flipped on the disk": [
        "core/test_volume.py::test_a_flipped_bit_is_an_error_and_not_a_value",
        "catalog/test_releases.py::test_what_is_damaged_is_named",
    ],
    "a chunk that is lost": [
        "transform/test_preprocess.py::test_a_missing_shard_is_an_error_and_not_zeros",
        "server/test_damaged_api.py::test_a_lost_chunk_is_no_zeros",
    ],
    "two chunks swapped": [
        "core/test_volume.py::test_two_shards_swapped_pass_their_checksums_but_not_the_manifest",
        "core/test_manifest.py::test_a_task_does_not_take_swapped_shards",
        "catalog/test_releases.py::test_results_that_are_not_as_they_were_made",
    ],
    "a disk that is full": [
        "engine/test_failures.py::test_full_disk_ends_clearly_and_resumes",
        "ingest/test_ingest.py::test_a_disk_that_fills_up",
    ],
    "death at any moment": [
        "catalog/test_releases.py::test_killed_at_any_moment",
        "catalog/test_releases.py::test_a_death_before_the_pointer",
        "catalog/test_releases.py::test_the_pointer_is_never_away",
        "catalog/test_releases.py::test_what_is_acknowledged_is_on_the_disk",
        "proofreading/test_edits.py::test_killed_while_editing",
        "test_reconstruct.py::test_killed_anywhere_and_resumed_it_makes_the_same_bytes",
    ],
    "parameters changed before -resume": [
        "engine/test_hashes.py::test_late_parameters_reach_late_stages_only",
        "catalog/test_releases.py::test_other_parameters_make_another_release",
    ],
    "a clock that goes back": ["catalog/test_releases.py::test_a_clock_that_goes_back"],
    "names that lead out of a folder": [
        "catalog/test_releases.py::test_names_that_lead_out",
        "catalog/test_releases.py::test_a_file_that_becomes_a_link_is_not_followed",
        "server/test_damaged_api.py::test_a_link_in_a_release_leads_nowhere",
        "server/test_api.py::test_no_file_of_this_machine_is_looked_at",
        "catalog/test_releases.py::test_results_that_are_not_as_they_were_made",
    ],
    "questions that are none": [
        "server/test_api.py::test_what_is_not_there_or_no_question",
        "server/test_api.py::test_pages_go_on",
        "server/test_api.py::test_points_are_numbers",
        "server/test_limits.py::test_what_takes_too_long_is_ended",
        "server/test_openapi.py::test_all_answers_are_described",
    ],
    "edits without a token, of another role, expired": [
        "server/test_api.py::test_edits",
        "server/test_damaged_api.py::test_token_files",
        "server/test_api.py::test_tokens_are_compared_in_constant_time",
        "server/test_api.py::test_edits_are_off_without_tokens",
    ],
    "forged requests": [
        "server/test_api.py::test_forged_requests",
        "server/test_damaged_api.py::test_a_body_that_is_too_large_is_not_read",
    ],
    "two edits of one version, of a withdrawn release, sent again": [
        "proofreading/test_edits.py::test_a_version_of_before_is_refused",
        "proofreading/test_edits.py::test_the_same_request_again",
        "proofreading/test_edits.py::test_several_writers_lose_nothing",
        "server/test_api.py::test_a_withdrawn_release_is_read_and_not_edited",
    ],
    "ids beyond 53 bits": ["server/test_damaged_api.py::test_ids_are_strings_beyond_53_bits"],
    "models of other weights, pickles, unsafe YAML": [
        "core/test_models.py::test_other_weights_than_the_cards_are_refused",
        "core/test_models.py::test_weights_with_code_are_refused_and_not_run",
        "core/test_models.py::test_nothing_that_is_read_is_run",
    ],
    "addresses where no data lie": [
        "ingest/test_remote.py::test_addresses_where_clouds_keep_credentials",
        "ingest/test_remote.py::test_a_server_does_not_send_us_elsewhere",
    ],
}


@pytest.mark.parametrize("fault", SHOWN)
def test_each_fault_has_its_tests(fault: str) -> None:
    for place in SHOWN[fault]:
        file, name = place.split("::")
        tree = ast.parse((Path(__file__).parent / file).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{fault}: {place} is gone"
