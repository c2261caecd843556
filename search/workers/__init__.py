"""The processes that train: claims, leases, heartbeats, supervision, shutdown."""
