"""What the integration tests share: programs, clients, a replica that counts for itself."""
