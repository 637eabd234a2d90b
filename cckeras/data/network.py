"""Whether a download can begin, found in seconds: libraries retry for minutes."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterable
from urllib.parse import urlsplit

SECONDS = 10


def check_network(urls: Iterable[str]) -> None:
    """Check that one of the hosts of some URLs answers, be it with an error.

    Args:
        urls: `http` or `https`; of each host one is tried, through the proxy
            if there is one.

    Raises:
        OSError: of the last host, if none answers.
    """
    failed = None
    for url in {urlsplit(url).netloc: url for url in urls}.values():
        request = urllib.request.Request(url, method="HEAD")  # noqa: S310
        try:
            urllib.request.urlopen(request, timeout=SECONDS).close()  # noqa: S310
        except urllib.error.HTTPError:
            return
        except OSError as error:
            failed = error
        else:
            return
    if failed is not None:
        raise failed
