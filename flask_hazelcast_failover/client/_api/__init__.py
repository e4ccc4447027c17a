"""What users hold: proxies, listeners, SQL, transactions and services that follow the client."""
