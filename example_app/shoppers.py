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

_PATIENCE = 15.0  # seconds until a visitor calls a page failed
_PAUSE = 0.03  # seconds between two clicks, so that a small machine measures the shop and not the shoppers


@dataclass(frozen=True)
class Visit:
    """One request as the visitor saw it. ``ended`` is in monotonic seconds, ``took`` in seconds."""

    ended: float
    took: float
    cluster: str | None
    bought: int = 0  # lines of a receipt
    unknown: int = 0  # lines of which the shop said that it cannot tell
    failure: str | None = None


class Shopper(threading.Thread):
    """One visitor with a browser of its own, who shops until told to stop."""

    def __init__(self, url: str, tell: Callable[[Visit], None]) -> None:
        super().__init__(name="shopper", daemon=True)
        self._url = url
        self._tell = tell
        self._browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        self._over = threading.Event()

    def stop(self) -> None:
        """Have the visitor leave after the current request, and wait for that."""
        self._over.set()
        self.join(_PATIENCE)

    def run(self) -> None:
        """Look around, take two things, look at the cart, buy; again and again."""
        while not self._over.is_set():
            front = self._open("/")
            products = re.findall(r'name="product" value="([\w-]+)"', front)
            for product in random.sample(products, k=min(2, len(products))):
                front = self._open("/cart", form_on=front, product=product, by="1")
            self._open("/buy", form_on=self._open("/cart"))

    def _open(self, path: str, form_on: str | None = None, **fields: str) -> str:
        """Return a page. With a page to take a form from, send that form, and return where it leads."""
        if self._over.is_set() or self._over.wait(_PAUSE):
            return ""
        sent = None
        if form_on is not None:
            token = re.search(r'name="form_token" value="([^"]+)"', form_on)
            if token is None:
                return ""  # the page before has failed, and was told of
            sent = urllib.parse.urlencode(fields | {"form_token": token[1]}).encode()
        began, page, failure = time.monotonic(), "", None
        try:
            with self._browser.open(self._url + path, sent, timeout=_PATIENCE) as answer:
                page = answer.read().decode()
        except (OSError, HTTPException) as error:
            failure = f"{path}: {error}"
        ended = time.monotonic()
        cluster = re.search(r'data-cluster="([^"]+)"', page)
        outcomes = re.findall(r'data-outcome="([^"]+)"', page)
        self._tell(
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
