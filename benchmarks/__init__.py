"""What a failover costs, measured beside the official client and others in the same run."""
