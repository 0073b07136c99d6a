"""Damaged, hostile and odd inputs: which tests show what must come of each. Tested here is that none of them is lost."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SHOWN = {
    "a TIFF cut off anywhere": [
        "ingest/test_tiff.py::test_cut_at_twenty_points",
        "ingest/test_tiff.py::test_cut_pixels_are_seen_in_the_header",
        "ingest/test_tiff.py::test_an_empty_and_a_cut_section",
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
    "addresses where no data lie": ["ingest/test_remote.py::test_addresses_where_clouds_keep_credentials"],
}


@pytest.mark.parametrize("fault", SHOWN)
def test_each_fault_has_its_tests(fault: str) -> None:
    for place in SHOWN[fault]:
        file, name = place.split("::")
        tree = ast.parse((Path(__file__).parent / file).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{fault}: {place} is gone"
