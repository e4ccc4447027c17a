"""Real Hazelcast clusters on this machine, for development and for tests."""

from typing import TYPE_CHECKING

from .._lazy_names import importing

if TYPE_CHECKING:
    from ._cluster import LocalCluster, start_together
    from ._errors import JarNotFoundError, JavaNotFoundError, LocalClusterError, MemberStartError
    from ._member import Member, MemberState
    from ._ports import free_port
else:
    __getattr__ = importing(
        __name__,
        {
            "JarNotFoundError": "_errors",
            "JavaNotFoundError": "_errors",
            "LocalCluster": "_cluster",
            "LocalClusterError": "_errors",
            "Member": "_member",
            "MemberStartError": "_errors",
            "MemberState": "_member",
            "free_port": "_ports",
            "start_together": "_cluster",
        },
    )

__all__ = [
    "JarNotFoundError",
    "JavaNotFoundError",
    "LocalCluster",
    "LocalClusterError",
    "Member",
    "MemberStartError",
    "MemberState",
    "free_port",
    "start_together",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
