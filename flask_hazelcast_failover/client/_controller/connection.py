"""The connection part of a cluster's record: its link, and what stays known of the cluster without one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import count
from uuid import UUID

from .._identity import ClientIdentity
from .._known_cluster import KnownCluster
from .effects import LinkView

_new_data_id = count(1).__next__


@dataclass
class ClusterConnection:
    """The link to a cluster, its members, and by what these know the client."""

    link: LinkView | None = None
    members: frozenset[UUID] = frozenset()
    restarted: bool = False  # all members are new since the client was connected last
    known: KnownCluster | None = None  # as last seen; replaced as a whole, so that other threads may read it
    data_id: int = field(default_factory=_new_data_id)
    _identity: ClientIdentity | None = None  # by what the members know this client while operations go there
    _left_identity: ClientIdentity | None = None  # the former one, once operations go elsewhere

    def open(self, link: LinkView) -> None:
        """A link was opened."""
        members, known = link.members(), link.known_cluster()
        if self.members and members.isdisjoint(self.members):
            self.restarted = True
            self.data_id = _new_data_id()
        elif self.known is not None and self.known.id != known.id:
            self.data_id = _new_data_id()  # members have joined another cluster meanwhile
        self._set(link, members, known)

    def replace(self, link: LinkView) -> None:
        """The cluster's name leads to other members, and ``link`` to these."""
        self.data_id = _new_data_id()
        self._set(link, link.members(), link.known_cluster())

    def close(self) -> None:
        """There is no link any more."""
        self.link = None

    def refresh(self) -> None:
        """Keep what the link knows of the cluster; one that is going down may know no member any more."""
        if self.link is not None and (known := self.link.known_cluster()).addresses:
            self.members, self.known = self.link.members(), known

    def enter(self) -> None:
        """Operations go to the link: members know the client by it, also when the link is opened again."""
        assert self.link is not None
        self._identity = self.link.known_cluster().identity
        self._left_identity = None

    def leave(self) -> None:
        """Operations go to another cluster: the locks that the client holds here have to end."""
        self._left_identity = self._identity or self._left_identity
        self._identity = None

    def unusable(self, link: LinkView) -> str:
        """Why a link that an attempt has opened is of no use; empty if it is."""
        if not link.is_connected():
            return "closed right after connecting"
        if self._left_identity is not None and link.known_cluster().identity == self._left_identity:
            return "closed: it kept locks of before the client went elsewhere"
        return ""

    def known_for_attempt(self) -> KnownCluster | None:
        """What an attempt may use: the members' addresses, and the identity to come back with."""
        return None if self.known is None else replace(self.known, identity=self._identity)

    def _set(self, link: LinkView, members: frozenset[UUID], known: KnownCluster) -> None:
        link.data_id = self.data_id
        self.link, self.members, self.known = link, members, known
