"""The drawn data set: exact counts, repeatable pixels, classes that colour does not give away."""

import numpy as np
import pytest
from numpy.typing import NDArray

from bloodsearch.search.data.synthetic import SYNTHETIC_VERSION, make_split

COUNTS = {
    "train": (852, 2181, 1085, 2026, 849, 993, 2330, 1643),
    "val": (122, 312, 155, 290, 122, 143, 333, 235),
    "test": (244, 624, 311, 579, 243, 284, 666, 470),
}
# Mean red, green, blue of the image quarters of make_split("val"), by version. New pixels need a
# new SYNTHETIC_VERSION and a new entry here.
QUARTERS = {
    1: (
        (224.1441, 194.3219, 190.4108),
        (223.6414, 193.8069, 190.2546),
        (223.3242, 193.3901, 189.9773),
        (223.5781, 193.8524, 190.3450),
    ),
}

Arrays = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@pytest.fixture(scope="module")
def splits() -> dict[str, Arrays]:
    return {"train": make_split("train"), "val": make_split("val"), "test": make_split("test")}


@pytest.mark.parametrize("name", COUNTS)
def test_split_has_bloodmnist_shapes_dtypes_and_class_counts(
    splits: dict[str, Arrays], name: str
) -> None:
    images, labels = splits[name]
    assert images.shape == (sum(COUNTS[name]), 28, 28, 3)
    assert labels.shape == (sum(COUNTS[name]),)
    assert images.dtype == labels.dtype == np.uint8
    assert images.flags.c_contiguous
    assert tuple(np.bincount(labels, minlength=8)) == COUNTS[name]


@pytest.mark.parametrize("name", COUNTS)
def test_rows_are_shuffled(splits: dict[str, Arrays], name: str) -> None:
    # Each tenth of the rows holds the classes in about the same shares.
    for part in np.array_split(splits[name][1], 10):
        share = np.bincount(part, minlength=8) / len(part)
        assert np.abs(share - np.array(COUNTS[name]) / sum(COUNTS[name])).max() < 0.1


def test_no_image_occurs_twice_within_or_across_splits(splits: dict[str, Arrays]) -> None:
    seen = {image.tobytes() for images, _ in splits.values() for image in images}
    assert len(seen) == sum(map(sum, COUNTS.values()))


def test_splits_do_not_share_a_random_stream() -> None:
    # Two images a class in each split: with a shared seed these sets would be the same arrays.
    train, val, test = (make_split(name, 16)[0] for name in ("train", "val", "test"))
    for one, other in ((train, val), (train, test), (val, test)):
        assert not (one == other).all(axis=(1, 2, 3)).any()


def test_same_call_gives_same_arrays_whatever_the_global_seed(splits: dict[str, Arrays]) -> None:
    np.random.seed(5)
    images, labels = make_split("val")
    assert np.array_equal(images, splits["val"][0])
    assert np.array_equal(labels, splits["val"][1])


def test_pixels_match_the_version(splits: dict[str, Arrays]) -> None:
    images, _ = splits["val"]
    quarters = images.reshape(-1, 2, 14, 2, 14, 3).mean(axis=(0, 2, 4)).reshape(4, 3)
    # 0.002 grey levels lets some pixels round the other way on another machine.
    assert quarters == pytest.approx(np.array(QUARTERS[SYNTHETIC_VERSION]), abs=0.002)


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("n_images", [16, 17, 50, 200, 1000])
def test_smaller_set_keeps_class_proportions(name: str, n_images: int) -> None:
    images, labels = make_split(name, n_images)  # type: ignore[arg-type]
    counts = np.bincount(labels, minlength=8)
    assert len(images) == len(labels) == n_images
    assert counts.min() >= 2
    if n_images >= 50:  # below, the floor of two a class decides
        share = np.array(COUNTS[name]) * n_images / sum(COUNTS[name])
        assert np.abs(counts - share).max() < 1


def test_asking_for_every_image_is_the_whole_split(splits: dict[str, Arrays]) -> None:
    images, labels = make_split("val", 1712)
    assert np.array_equal(images, splits["val"][0])
    assert np.array_equal(labels, splits["val"][1])


@pytest.mark.parametrize("n_images", [-1, 0, 15, 1713])
def test_impossible_size_is_refused(n_images: int) -> None:
    with pytest.raises(ValueError, match=rf"val must be from 16 to 1712; got {n_images}"):
        make_split("val", n_images)


def test_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match="one of train, val, test; got 'dev'"):
        make_split("dev")  # type: ignore[arg-type]


def _nearest_mean_accuracy(
    features: NDArray[np.float64],
    labels: NDArray[np.uint8],
    new_features: NDArray[np.float64],
    new_labels: NDArray[np.uint8],
) -> float:
    means = np.stack([features[labels == label].mean(axis=0) for label in range(8)])
    distance = ((new_features[:, None] - means) ** 2).sum(axis=2)
    return float((distance.argmin(axis=1) == new_labels).mean())


def test_mean_colour_does_not_give_the_class_away(splits: dict[str, Arrays]) -> None:
    (images, labels), (new_images, new_labels) = splits["test"], splits["val"]
    accuracy = _nearest_mean_accuracy(
        images.mean(axis=(1, 2)), labels, new_images.mean(axis=(1, 2)), new_labels
    )
    # Above chance (the largest class is 19 %), since real stains do differ, but far from enough.
    assert 0.2 < accuracy < 0.6


def test_drawings_carry_their_class(splits: dict[str, Arrays]) -> None:
    images, labels = splits["val"]
    dark = (images[..., 1] < 110).sum(axis=(1, 2))  # nucleus pixels: they absorb green the most
    median = [np.median(dark[labels == label]) for label in range(8)]
    platelet, erythroblast, lymphocyte, monocyte = (median[label] for label in (7, 2, 4, 5))
    assert platelet < erythroblast < lymphocyte < monocyte
    # Orange granules and cytoplasm: an eosinophil is red against blue where others are not.
    centre = images[:, 7:21, 7:21].astype(np.float64).mean(axis=(1, 2))
    redness = centre[:, 0] - centre[:, 2]
    eosinophil = np.median(redness[labels == 1])
    assert all(eosinophil > np.median(redness[labels == other]) for other in (0, 3, 4, 5, 6))


def test_images_vary_and_are_not_clipped(splits: dict[str, Arrays]) -> None:
    images, labels = splits["val"]
    for label in range(8):
        brightness = images[labels == label].mean(axis=(1, 2, 3))
        assert brightness.std() > 3  # stain and exposure differ between cells of one class
    assert np.mean(images == 0) < 0.01
    assert np.mean(images == 255) < 0.2
