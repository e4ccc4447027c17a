"""What a process brings: forks, its exit, threads and greenlets. Knows nothing of Hazelcast."""
