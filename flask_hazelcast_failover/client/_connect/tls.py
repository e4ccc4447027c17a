"""An ``ssl.SSLContext`` with the TLS settings of an official configuration."""

from __future__ import annotations

import ssl

from hazelcast.config import Config, SSLProtocol

_VERSIONS = {
    SSLProtocol.TLSv1: ssl.TLSVersion.TLSv1,
    SSLProtocol.TLSv1_1: ssl.TLSVersion.TLSv1_1,
    SSLProtocol.TLSv1_2: ssl.TLSVersion.TLSv1_2,
    SSLProtocol.TLSv1_3: ssl.TLSVersion.TLSv1_3,
}


def tls_context(config: Config) -> ssl.SSLContext | None:
    """The context that the official client would use for ``config``; ``None`` without TLS.

    :raises OSError: a file of certificates or keys is missing or invalid
    """
    if not config.ssl_enabled:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = config.ssl_check_hostname
    version = _VERSIONS.get(config.ssl_protocol)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if config.ssl_cafile:
        context.load_verify_locations(config.ssl_cafile)
    else:
        context.load_default_certs()
    if config.ssl_certfile:
        context.load_cert_chain(config.ssl_certfile, config.ssl_keyfile, config.ssl_password)
    if config.ssl_ciphers:
        context.set_ciphers(config.ssl_ciphers)
    return context
