"""Plug-ins: the seed's shapes load as they stand, and a broken one is named with what is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from voxelmill.core.errors import ParameterError
from voxelmill.core.plugins import FeatureContext, PluginError, find, list_plugins, load_file, load_plugins, plugin_files

CONTEXT_FEATURE = '''
import numpy as np
PLUGIN_NAME = "median_signal"
PLUGIN_TYPE = "feature"
PLUGIN_FEATURE_TYPE = "fluorescence"

def extract_median(ctx):
    """Median over the mask."""
    return np.median((ctx.image - ctx.background_weight * ctx.background)[ctx.mask])
'''
SIMPLE_FEATURE = """
def extract_custom_feature(image, mask, context):
    return image[mask].max() + context.erosion_size

PHASE_FEATURES['custom_feature'] = extract_custom_feature
"""
PREPROCESSOR = """
class CustomPreprocessor:
    def process(self, image):
        return image + 1

workflow.register_preprocessor(CustomPreprocessor())
"""


def write(folder, **files):
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def context(**changes):
    image = np.arange(16, dtype=np.float32).reshape(4, 4)
    return FeatureContext(image, image > 11, np.ones((4, 4), np.float32), **changes)


def test_context_feature(tmp_path):
    (plugin,) = load_plugins(write(tmp_path, median=CONTEXT_FEATURE))
    assert (plugin.name, plugin.kind, plugin.feature_types) == ("median_signal", "feature", ("fluorescence",))
    assert plugin(context()) == 12.5
    assert plugin(context(background_weight=0.5)) == 13.0


def test_simple_feature_of_the_seed(tmp_path):
    (plugin,) = load_plugins(write(tmp_path, custom_feature=SIMPLE_FEATURE))
    assert (plugin.name, plugin.kind, plugin.feature_types) == ("custom_feature", "feature", ("phase",))
    assert plugin(context(erosion_size=2)) == 17.0


def test_simple_feature_without_registration_is_for_all_channels(tmp_path):
    (plugin,) = load_plugins(write(tmp_path, custom_feature=SIMPLE_FEATURE.rpartition("PHASE")[0]))
    assert plugin.feature_types == ("phase", "fluorescence")


@pytest.mark.parametrize(
    "text",
    [
        PREPROCESSOR,
        PREPROCESSOR.rpartition("workflow")[0],
        "def preprocess_add(image):\n    return image + 1\n",
        'PLUGIN_TYPE = "preprocessor"\nclass A:\n    def process(self, image):\n        return image + 1\n',
    ],
)
def test_preprocessors(tmp_path, text):
    (plugin,) = load_plugins(write(tmp_path, add=text))
    assert plugin.kind == "preprocessor"
    assert plugin(np.zeros((3, 3), np.uint16)).tolist() == [[1] * 3] * 3


@pytest.mark.parametrize(
    ("kind", "text", "arguments"),
    [
        ("segmentation", "def segment_m(image):\n    return (image > 0).astype('uint16')\n", (np.ones((3, 4)),)),
        ("tracking", "def track_m(labels):\n    return labels\n", (np.ones((2, 3, 4), int),)),
        ("background", "def estimate_m(image, labels):\n    return image * 0.5\n", (np.ones((3, 4)),) * 2),
    ],
)
def test_methods(tmp_path, kind, text, arguments):
    plugins = load_plugins(write(tmp_path, m=text))
    plugin = find(plugins, kind, "m")
    result = plugin(*arguments)
    assert result.shape == arguments[0].shape
    assert result.dtype == (np.float32 if kind == "background" else np.uint32)
    assert find(plugins, kind, "other") is None


def test_files_that_count(tmp_path):
    write(tmp_path, b=SIMPLE_FEATURE, _hidden="raise RuntimeError")
    write(tmp_path / "deep", a=CONTEXT_FEATURE)
    (tmp_path / "notes.txt").write_text("no plug-in")
    assert [p.name for p in plugin_files(tmp_path)] == ["b.py", "a.py"]
    with pytest.raises(ParameterError, match="is not there"):
        load_plugins(tmp_path / "nowhere")


def test_loading_leaves_nothing_in_the_folder(tmp_path):
    load_plugins(write(tmp_path, median=CONTEXT_FEATURE))
    assert [p.name for p in tmp_path.iterdir()] == ["median.py"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def extract_bad(ctx)\n    return 1\n", "line 1: expected ':'"),
        ("import no_such_package\n", "ModuleNotFoundError.*no_such_package"),
        ("x = 1\n", "no plug-in in it.*extract_bad"),
        ("def extract_other(ctx):\n    return 1\n", "no plug-in in it"),
        ("def extract_bad(ctx):\n    return 1 / 0\n", "ZeroDivisionError"),
        ("def extract_bad(ctx):\n    return None\n", "gave NoneType, expected one number"),
        ("def extract_bad(ctx):\n    return ctx.image\n", "gave ndarray, expected one number"),
        ("def extract_bad(a, b):\n    return 1\n", "takes 2 arguments, expected 1 or 3"),
        ('PLUGIN_TYPE = "features"\n', "PLUGIN_TYPE is 'features', expected one of feature"),
        ('PLUGIN_TYPE = "feature"\n', "there is no function extract_bad"),
        ('PLUGIN_FEATURE_TYPE = "pc"\ndef extract_bad(ctx):\n    return 1\n', "PLUGIN_FEATURE_TYPE is 'pc'"),
        ("def preprocess_bad(image):\n    return image[1:]\n", r"shape \(23, 24\), expected \(24, 24\)"),
        ("def segment_bad(image):\n    return image * 0.5\n", "expected labels: integers"),
        ("def segment_bad(image):\n    return image > 5\n", "expected labels: integers"),
        ("def estimate_bad(image, labels):\n    return image * float('nan')\n", "NaN"),
        (
            "class A:\n    def __init__(self, x):\n        pass\n    def process(self, image):\n        return image\n",
            "needs arguments",
        ),
        ("workflow.register_preprocessor(3)\n", "int has no method process"),
    ],
)
def test_a_broken_plug_in_is_named_with_what_is_wrong(tmp_path, text, message):
    folder = write(tmp_path, bad=text, good=CONTEXT_FEATURE.replace("extract_median", "extract_good"))
    with pytest.raises(PluginError, match=message) as caught:
        load_plugins(folder)
    assert "plug-in 'bad'" in str(caught.value)
    assert "bad.py" in str(caught.value)
    rows = list_plugins(folder)
    assert [(path.name, len(plugins), bool(fault)) for path, plugins, fault in rows] == [
        ("bad.py", 0, True),
        ("good.py", 1, False),
    ]


def test_one_name_twice_is_refused(tmp_path):
    with pytest.raises(PluginError, match=r"a\.py has the same name"):
        load_plugins(
            write(
                tmp_path,
                a='PLUGIN_NAME = "x"\ndef extract_a(ctx):\n    return 1\n',
                b='PLUGIN_NAME = "x"\ndef extract_b(ctx):\n    return 1\n',
            )
        )


def test_dataclasses_and_future_annotations_work(tmp_path):
    text = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass P:\n    x: int = 3\n\ndef extract_a(ctx):\n    return P().x\n"
    )
    (plugin,) = load_file(write(tmp_path, a=text) / "a.py")
    assert plugin(context()) == 3


def test_the_command_lists_what_a_folder_holds(tmp_path, capsys):
    from voxelmill.cli import main

    (tmp_path / "bright.py").write_text("def extract_bright(image, mask, context):\n    return float(image[mask].max())\n")
    assert main(["plugins", str(tmp_path)]) == 0
    assert capsys.readouterr().out.split() == ["feature", "bright", str(tmp_path / "bright.py"), "phase,", "fluorescence"]
    (tmp_path / "worse.py").write_text("def extract_worse(image, mask, context):\n    return 1 / 0\n")
    assert main(["plugins", str(tmp_path)]) == 64
    said = capsys.readouterr()
    assert "bright" in said.out and "broken" in said.err and "'worse'" in said.err
