"""fine_grained6: sets in folders, ImageNet's labels among the thousand."""

import pytest

from cckeras.benchmarks.fine_grained6 import (
    PUBLISHED,
    TASKS,
    among_thousand,
    fine_grained6,
)
from cckeras.data.folders import SPLITS
from cckeras.data.imagenet_classes import imagenet_classes, imagenet_names
from cckeras.errors import InputError
from cckeras.recipes import load_recipe
from tests.command import make_pictures

KNOWN = [imagenet_classes()[place] for place in (3, 700)]


def config(method="condconv", **changes):
    changes = {key: str(value) for key, value in changes.items()}
    return load_recipe("fine_grained6", method, changes)


@pytest.fixture
def root(tmp_path):
    """ImageNet with two classes, birds and wikiart; the others are missing."""
    folders = [f"{known.wordnet}_{known.name}" for known in KNOWN]
    for number, (task, classes, splits) in enumerate(
        (
            ("imagenet", folders, SPLITS),
            ("birds", ["wren", "robin"], SPLITS),
            ("wikiart", ["Monet", "Goya"], ["train"]),
        )
    ):
        make_pictures(tmp_path / task, splits, 3, classes, number)
    return tmp_path


def test_imagenet_is_labelled_among_its_thousand_classes(root):
    data = fine_grained6(config(size="small"), root).load("imagenet")
    assert data.classes == imagenet_names()
    assert sorted(set(data.test.labels.tolist())) == [3, 700]
    assert len(data.test) == 6
    assert data.train.images.read([0]).shape == (1, 96, 96, 3)


def test_without_weights_imagenet_is_a_task_like_the_others(root):
    small = config(size="small", backbone="resnet18_imagenet")
    data = fine_grained6(small, root).load("imagenet")
    assert len(data.classes) == 2


def test_a_class_that_is_not_imagenet_s_is_named(root):
    data = fine_grained6(config(size="small"), root).load("birds")
    with pytest.raises(InputError, match="robin"):
        among_thousand(data)


@pytest.mark.parametrize("size", ["small", "full"])
def test_a_missing_set_is_one_line_and_names_the_rest(root, size):
    with pytest.raises(InputError) as caught:
        fine_grained6(config(size=size), root).load("cars")
    line = str(caught.value)
    assert str(root / "cars") in line
    assert "--tasks=imagenet,birds,wikiart" in line
    assert "\n" not in line


def test_the_folder_that_holds_the_small_set_will_do(root):
    inner = root / "more" / "fine_grained_small"
    inner.parent.mkdir()
    (root / "birds").rename(root / "parked")
    inner.mkdir()
    (root / "parked").rename(inner / "birds")
    data = fine_grained6(config(size="small"), inner.parent).load("birds")
    assert data.classes == ("robin", "wren")


def test_at_full_size_boxes_are_stretched_and_only_mirrored(root):
    benchmark = fine_grained6(config(size="full", image_size=32), root)
    birds, paintings = benchmark.load("birds"), benchmark.load("wikiart")
    assert birds.augmentation == "flip"
    assert paintings.augmentation is None
    framing = birds.train.images.images.framing
    assert (framing.warp, framing.margin) == (True, 5)
    assert not paintings.train.images.images.framing.warp
    assert birds.framing == {"warp": True, "margin": 5}
    assert paintings.framing == {"margin": 5}
    assert len(paintings.test) == len(paintings.validation) == 2


def test_published_figures_give_the_published_total_gain():
    for method, expected in (("condconv", 5.85), ("scratch", -151.46)):
        gain = sum(
            ours - theirs
            for ours, theirs in zip(
                PUBLISHED[method][1:], PUBLISHED["finetune"][1:], strict=True
            )
        )
        assert gain == pytest.approx(expected, abs=0.01)
    assert len(TASKS) == 6


def test_the_backbone_decides_on_the_recipe():
    full = config()
    assert (full["backbone"], full["image_size"]) == ("resnet50_v1", 224)
    assert (full["experts"], full["router_start"]) == ("first", "zeros")
    small = config(size="small", backbone="resnet18_imagenet")
    assert (small["pretrained"], small["image_size"]) == ("", 72)
    with pytest.raises(InputError, match="Did you mean 'small'"):
        config(size="smal")
