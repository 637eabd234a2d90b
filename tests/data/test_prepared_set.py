"""Sets of TensorFlow Datasets that are there, and that cannot be had."""

import socket
from pathlib import Path

import pytest

from cckeras.data import prepared_set as module
from cckeras.data.prepared_set import prepared_set
from cckeras.errors import InputError

tfds = pytest.importorskip("tensorflow_datasets")
FLOWERS = "oxford_flowers102"
ADVICE = "Put it there."


@pytest.fixture
def tried(monkeypatch):
    """Return the hosts that were tried, in a world without a network."""
    hosts = []

    def connect(address, timeout):
        assert timeout <= 10
        hosts.append(address)
        raise OSError("no network")

    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setattr(module, "getproxies", dict)
    return hosts


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
    assert tried == [("www.robots.ox.ac.uk", 443)]
    assert not downloads
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")


def test_one_host_that_answers_will_do(
    tmp_path, tried, downloads, monkeypatch, capfd
):
    ours, theirs = socket.socketpair()

    def connect(address, timeout):
        tried.append(address)
        if len(tried) == 1:
            raise OSError("gone")
        return ours

    monkeypatch.setattr(socket, "create_connection", connect)
    builder = prepared_set("caltech_birds2011", str(tmp_path), ADVICE)
    theirs.close()
    assert ours.fileno() == -1
    assert len(tried) == 2
    assert downloads == [builder.name] == ["caltech_birds2011"]
    assert capfd.readouterr().out == ""


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


def test_a_proxy_is_not_gone_round(tmp_path, tried, downloads, monkeypatch):
    monkeypatch.setattr(module, "getproxies", lambda: {"https": "proxy"})
    prepared_set(FLOWERS, str(tmp_path), ADVICE)
    assert (tried, downloads) == ([], [FLOWERS])
