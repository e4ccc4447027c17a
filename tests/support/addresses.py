"""Addresses for configurations that connect to nothing."""

NODE = ["node:5701"]
DNS_NAME = "hazelcast.internal.example.com"
