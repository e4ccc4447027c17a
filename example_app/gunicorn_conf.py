"""How gunicorn serves the shop."""

workers = 4
worker_class = "gthread"
threads = 4
# The app is made once and then forked, which starts four times as fast. Each worker's client connects by itself, at
# the worker's first request.
preload_app = True
graceful_timeout = 2
timeout = 30
loglevel = "warning"
control_socket_disable = True
