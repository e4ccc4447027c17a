"""What follows from the answers that the name of a CNAME cluster gets."""

from __future__ import annotations

from ..events import AddressesChanged
from .cluster import ClusterRecord
from .effects import Effects
from .messages import AddressesVerified, Resolved

# How often a name with a refresh interval of 0 is looked up, besides at each attempt, seconds.
_SHORTEST_INTERVAL = 1.0
# So many answers in a row have to lead to other members before the client follows.
_ANSWERS_TO_FOLLOW = 2


class DnsTracker:
    """Takes in the answers of DNS. Of the controller's thread."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects

    def resolved(self, record: ClusterRecord, answer: Resolved) -> None:
        """Keep the addresses of an answer, and have them verified if none belongs to the cluster's members."""
        dns, link = record.dns, record.connection.link
        if record.config.dns is not None:
            dns.due_at = self._effects.now() + (record.config.dns.refresh_interval or _SHORTEST_INTERVAL)
        dns.error = answer.error
        before, dns.addresses = dns.addresses, answer.addresses or dns.addresses
        if before and set(dns.addresses) != set(before):
            self._effects.announce(AddressesChanged(record.label, before, dns.addresses))
        if link is None or answer.error is not None:
            return
        if set(dns.addresses) & link.member_addresses():
            dns.foreign_answers = 0  # some of the same cluster's members, in whatever order
            dns.own_answers += 1
        else:
            self._effects.verify_addresses(record.index, dns.own_answers)

    def has_moved(self, record: ClusterRecord, verified: AddressesVerified) -> bool:
        """Whether a cluster's name has led to members of another cluster twice in a row."""
        dns, link = record.dns, record.connection.link
        if link is not None and verified.link.members() & link.members():
            dns.foreign_answers = 0
        elif verified.own_answers == dns.own_answers:  # else a later answer has led to the cluster again
            dns.foreign_answers += 1
        return dns.foreign_answers >= _ANSWERS_TO_FOLLOW
