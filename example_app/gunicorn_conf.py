"""How gunicorn serves the shop. Each worker has a client of its own, which connects at its first request."""

workers = 4
worker_class = "gthread"
threads = 4
# Without preload_app: a client may be made before a fork, but an app that forks first is the one most people have.
preload_app = False
graceful_timeout = 2
timeout = 30
loglevel = "warning"
control_socket_disable = True
