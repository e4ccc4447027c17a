"""What can go wrong with a local cluster. Each message says what to do about it."""


class LocalClusterError(Exception):
    """A local cluster cannot do what was asked of it."""


class JavaNotFoundError(LocalClusterError):
    """No Java runtime that can run a member."""


class JarNotFoundError(LocalClusterError):
    """The member's jar is neither on this machine nor to be fetched."""


class MemberStartError(LocalClusterError):
    """A member ended, or did not join its cluster, while it was starting."""


class PortTakenError(MemberStartError):
    """Somebody took a member's port between choosing it and listening on it."""


class JoinGivenUpError(MemberStartError):
    """A member ended because it could not join the others in time."""
