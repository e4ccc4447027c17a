"""How an official client registers listeners, and what its near caches are told."""
