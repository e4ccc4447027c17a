"""The errors of local clusters. Each message says what to do."""


class LocalClusterError(Exception):
    """A local cluster could not carry out a call."""


class UnsupportedPlatformError(LocalClusterError):
    """This platform lacks what members are started, frozen and ended with."""


class JavaNotFoundError(LocalClusterError):
    """There is no Java that can run a member."""


class JarNotFoundError(LocalClusterError):
    """A member's jar is not on this machine and could not be fetched."""


class MemberStartError(LocalClusterError):
    """A member ended, or did not join its cluster, while it was starting."""


class PortTakenError(MemberStartError):
    """Another process took a member's port before the member listened on it."""


class JoinFailedError(MemberStartError):
    """A member ended because it could not join the others in time."""
