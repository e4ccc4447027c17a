"""Visitors for the demo: threads that browse, fill their carts and buy, by HTTP, as a browser would."""

from __future__ import annotations

import random
import re
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from http.cookiejar import CookieJar

__all__ = ["Shopper", "Visit"]

_TIMEOUT = 15.0  # seconds after which a page has failed
_PAUSE = 0.03  # seconds between two clicks, so that the shoppers do not use up a small machine


@dataclass(frozen=True)
class Visit:
    """One request of a visitor. ``ended`` is in monotonic seconds, ``took`` in seconds."""

    ended: float
    took: float
    cluster: str | None
    bought: int = 0  # lines of a receipt
    unknown: int = 0  # lines with an unknown outcome
    failure: str | None = None


class Shopper(threading.Thread):
    """A visitor with a browser of its own, who shops until `stop`."""

    def __init__(self, url: str, report: Callable[[Visit], None]) -> None:
        super().__init__(name="shopper", daemon=True)
        self._url = url
        self._report = report
        self._browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        self._ended = threading.Event()

    def stop(self) -> None:
        """End after the current request, and wait for that."""
        self._ended.set()
        self.join(_TIMEOUT)

    def run(self) -> None:
        """Open the front page, add two products, open the cart, buy; again and again."""
        while not self._ended.is_set():
            front = self._open("/")
            products = re.findall(r'name="product" value="([\w-]+)"', front)
            for product in random.sample(products, k=min(2, len(products))):
                front = self._open("/cart", form_on=front, product=product, by="1")
            self._open("/buy", form_on=self._open("/cart"))

    def _open(self, path: str, form_on: str | None = None, **fields: str) -> str:
        """Return a page. With `form_on`, send the form of that page and return the page that follows."""
        if self._ended.is_set() or self._ended.wait(_PAUSE):
            return ""
        data = None
        if form_on is not None:
            token = re.search(r'name="form_token" value="([^"]+)"', form_on)
            if token is None:
                return ""  # that page has failed and was reported
            data = urllib.parse.urlencode(fields | {"form_token": token[1]}).encode()
        began, page, failure = time.monotonic(), "", None
        try:
            with self._browser.open(self._url + path, data, timeout=_TIMEOUT) as answer:
                page = answer.read().decode()
        except (OSError, HTTPException) as error:
            failure = f"{path}: {error}"
        ended = time.monotonic()
        cluster = re.search(r'data-cluster="([^"]+)"', page)
        outcomes = re.findall(r'data-outcome="([^"]+)"', page)
        self._report(
            Visit(
                ended,
                ended - began,
                cluster[1] if cluster else None,
                bought=outcomes.count("bought"),
                unknown=outcomes.count("unknown"),
                failure=failure,
            )
        )
        return page
