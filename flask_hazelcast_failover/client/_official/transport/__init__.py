"""What moves the bytes of an official client: its reactor, its connections, its clock, its futures."""
