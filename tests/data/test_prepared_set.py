"""Sets of TensorFlow Datasets that are there, and that cannot be had."""

import urllib.request
from pathlib import Path

import pytest

from cckeras.data.prepared_set import prepared_set
from cckeras.errors import InputError

tfds = pytest.importorskip("tensorflow_datasets")
FLOWERS = "oxford_flowers102"
ADVICE = "Put it there."


@pytest.fixture
def tried(monkeypatch):
    """Return the URLs that were tried, in a world without a network."""
    urls = []

    def unreachable(request, timeout):
        assert timeout <= 10
        urls.append(request.full_url)
        raise OSError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    return urls


@pytest.fixture
def downloads(monkeypatch):
    """Return the sets that the downloader was asked for."""
    found = []

    def download_and_prepare(builder):
        print("Downloading and preparing")
        found.append(builder.name)

    monkeypatch.setattr(
        tfds.core.DatasetBuilder,
        "download_and_prepare",
        download_and_prepare,
    )
    return found


def test_without_a_network_one_try_and_one_line(
    tmp_path, tried, downloads, capfd
):
    with pytest.raises(InputError, match=rf"{FLOWERS}.*no network.*{ADVICE}"):
        prepared_set(FLOWERS, str(tmp_path), ADVICE)
    (url,) = tried
    assert url.startswith("https://www.robots.ox.ac.uk/")
    assert not downloads
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")


def test_what_is_downloaded_needs_no_network(tmp_path, tried, downloads):
    info = tmp_path / "downloads" / FLOWERS / "flowers.tgz.INFO"
    info.parent.mkdir(parents=True)
    info.write_text("{}")
    builder = prepared_set(FLOWERS, str(tmp_path), ADVICE)
    assert Path(builder.data_dir).parents[1] == tmp_path
    assert (tried, downloads) == ([], [FLOWERS])
    info.unlink()
    with pytest.raises(InputError, match="no network"):
        prepared_set(FLOWERS, str(tmp_path), ADVICE)


def test_archives_put_there_by_hand_need_no_network(tmp_path, tried, downloads):
    prepared_set("imagenet2012", str(tmp_path), ADVICE)
    assert (tried, downloads) == ([], ["imagenet2012"])
