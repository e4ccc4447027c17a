"""From the addresses of a cluster to an open link: lookups, probes, one attempt, the link itself."""
