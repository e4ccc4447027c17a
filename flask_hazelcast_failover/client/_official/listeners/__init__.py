"""How an official client registers listeners, those of its near caches among them."""
