"""Recipes: what is read, how it is split, and that what is held back stays out."""

import json

import numpy as np
import pytest
from voxelmill.core.errors import DataError, ParameterError, StorageError
from voxelmill.training.data import RECIPES, Recipe, chances, load_recipe, own_recipe, read


@pytest.fixture
def movie(tmp_path):
    """A movie of ten 8 x 6 frames whose pixels are their frame, and labels that are the frame plus 100."""
    image = np.arange(10, dtype=np.uint16)[:, None, None] + np.zeros((1, 8, 6), np.uint16)
    np.savez(tmp_path / "m.npz", phase=image, labels=image + 100)
    return tmp_path


def test_parts_are_cut_by_region_and_files(movie):
    part = {"train": {"region": [[0, 3], [2, 8]]}, "held_back": {"files": ["m"], "region": [[9, None]]}}
    recipe = Recipe("cells", movie, [{"name": "a", "image": "{}.npz", "labels": "m.npz", "parts": part}])
    recipe.sets[0]["image"] = "m.npz"
    train = list(recipe.examples("train"))
    assert [(e.name, e.image.shape, int(e.labels[0, 0])) for e in train] == [
        ("a/m:0", (6, 6), 100), ("a/m:1", (6, 6), 101), ("a/m:2", (6, 6), 102),
    ]  # fmt: skip
    assert [int(e.image[0, 0]) for e in recipe.examples("held_back")] == [9]
    assert list(recipe.examples("validation")) == []


def test_own_files_keep_the_last_fifth_for_validation(movie):
    one = own_recipe("cells", [str(movie / "m.npz")], [str(movie / "m.npz")])
    assert [len(list(one.examples(p))) for p in ("train", "validation")] == [8, 2]
    names = [f"{i}.npy" for i in range(6)]
    for n in names:
        np.save(movie / n, np.zeros((4, 4), np.uint8))
    many = own_recipe("cells", [str(movie / n) for n in names], [str(movie / n) for n in names])
    assert [len(list(many.examples(p))) for p in ("train", "validation")] == [5, 1]


def test_volumes_are_read_as_the_pipeline_reads_them(tmp_path):
    np.savez(tmp_path / "v.npz", raw=np.ones((3, 4, 5), np.uint8), labels=np.full((3, 4, 5), 7, np.uint16))
    path = str(tmp_path / "v.npz")
    assert read(path, "neurites", "", "image").max() == 1
    assert read(path, "neurites", "", "labels").min() == 7


def test_what_does_not_fit_is_refused(movie):
    path = str(movie / "m.npz")
    with pytest.raises(ParameterError, match="2 images and 1 labels"):
        own_recipe("cells", [path, path], [path])
    with pytest.raises(StorageError, match="no such file"):
        read("/nowhere.tif", "cells", "", "image")
    with pytest.raises(DataError, match=r"holds phase, labels; expected dic"):
        read(path, "cells", "dic", "image")
    np.save(movie / "short.npy", np.zeros((9, 8, 6), np.uint8))
    recipe = own_recipe("cells", [path], [str(movie / "short.npy")])
    with pytest.raises(DataError, match="expected the same shape"):
        list(recipe.examples("validation"))
    (movie / "bad.json").write_text("[]")
    with pytest.raises(DataError, match="not a recipe"):
        load_recipe(movie / "bad.json", movie)
    with pytest.raises(ParameterError, match="part 'test' is unknown"):
        list(recipe.examples("test"))


def test_a_set_is_drawn_by_its_weight_however_many_frames_it_has(movie):
    part = {"train": {"region": [[0, 4]]}}
    sets = [{"name": n, "image": "m.npz", "labels": "m.npz", "weight": w, "parts": part} for n, w in (("a", 3.0), ("b", 1.0))]
    sets[1]["parts"] = {"train": {"region": [[0, 1]]}}
    drawn = chances(list(Recipe("cells", movie, sets).examples("train")))
    np.testing.assert_allclose(drawn, [3 / 16] * 4 + [1 / 4])


@pytest.mark.parametrize("kind", ["cells", "neurites"])
def test_shipped_recipes_split_without_overlap(kind):
    recipe = load_recipe(RECIPES / f"{kind}.json", RECIPES)
    assert recipe.kind == kind
    for one in recipe.sets:
        assert one["licence"] and one["attribution"]
        assert "vnc" not in json.dumps(one).lower(), "its licence does not allow it"
        seen: set = set()
        for how in one["parts"].values():
            regions = [range(*r) for r in how.get("region", [None]) if r]
            assert len(regions) <= 1
            cut = regions[0] if regions else [None]
            items = {(f, s, c) for f in how.get("files", [""]) for s in how.get("seeds", [0]) for c in cut}
            assert not seen & items
            seen |= items
